//go:build linux

package measure

import (
	"slices"
	"time"
)

// Percentile sorts the values and returns the p-th percentile; 100 is the greatest value. It is 0 if there are no values.
func Percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[(len(values)*p+99)/100-1]
}

// Median sorts the values, of which there must be at least one. For an even number it returns the mean of the two in the middle.
func Median(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
