//go:build linux

package measure

import (
	"slices"
	"time"
)

// Percentile sorts the values; 100 is the greatest. Of no values it is 0.
func Percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[(len(values)*p+99)/100-1]
}

// Median sorts the values, at least one; of an even number it is the mean of the two in the middle.
func Median(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
