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
