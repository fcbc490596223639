//go:build linux

// Package measure holds what the benchmarks share: the processes that are measured, and the report.
package measure

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Report is what was measured, in order.
type Report struct {
	// Machine describes what the figures depend on.
	Machine string
	figures []figure
}

type figure struct {
	name   string
	value  float64
	unit   string
	target string // empty without a target
	missed bool
}

// Add adds a figure without a target, unless the value is no number.
func (r *Report) Add(name string, value float64, unit string) {
	if math.IsNaN(value) || math.IsInf(value, 0) { // a ratio to something too small to be measured
		return
	}
	r.figures = append(r.figures, figure{name: name, value: value, unit: unit})
}

// AtMost adds a figure whose target is at most the limit.
func (r *Report) AtMost(name string, value float64, unit string, limit float64) {
	r.figures = append(r.figures, figure{name, value, unit, "at most " + format(limit), !(value <= limit)})
}

// Below adds a figure whose target is below the limit.
func (r *Report) Below(name string, value float64, unit string, limit float64) {
	r.figures = append(r.figures, figure{name, value, unit, "under " + format(limit), !(value < limit)})
}

// AtLeast adds a figure whose target is at least the limit.
func (r *Report) AtLeast(name string, value float64, unit string, limit float64) {
	r.figures = append(r.figures, figure{name, value, unit, "at least " + format(limit), !(value >= limit)})
}

// Write writes a table for people, and one line for each figure for programs. Without figures it writes nothing.
func (r *Report) Write(w io.Writer) error {
	if len(r.figures) == 0 {
		return nil
	}
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "%s\n\nFIGURE\tVALUE\t\tTARGET\t\n", r.Machine)
	for _, f := range r.figures {
		verdict := ""
		switch {
		case f.missed:
			verdict = "MISSED"
		case f.target != "":
			verdict = "met"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", f.name, format(f.value), f.unit, f.target, verdict)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	out.WriteByte('\n')
	for _, f := range r.figures {
		fmt.Fprintln(&out, f.name, format(f.value))
	}
	_, err := out.WriteTo(w)
	return err
}

// format writes a number with at most three decimals.
func format(v float64) string { return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64) }

// Machine describes this machine, as far as figures depend on it.
func Machine() string {
	load, _ := os.ReadFile("/proc/loadavg")
	busy, _, _ := strings.Cut(string(load), " ")
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	_, model, _ := strings.Cut(string(cpu), "model name\t: ")
	model, _, _ = strings.Cut(model, "\n")
	return fmt.Sprintf("%d × %s, %s, %s, load average %s before the start",
		runtime.NumCPU(), model, runtime.GOARCH, runtime.Version(), busy)
}
