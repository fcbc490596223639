//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
)

// report is what has been measured, in that order.
type report struct {
	machine string
	figures []figure
}

type figure struct {
	name   string
	value  float64
	unit   string
	target string // empty without one
	missed bool
}

// add adds a figure without a target, unless it is none.
func (r *report) add(name string, value float64, unit string) {
	if math.IsNaN(value) || math.IsInf(value, 0) { // a ratio to something too small to be measured
		return
	}
	r.figures = append(r.figures, figure{name: name, value: value, unit: unit})
}

func (r *report) atMost(name string, value float64, unit string, limit float64) {
	r.figures = append(r.figures, figure{name, value, unit, "at most " + format(limit), !(value <= limit)})
}

func (r *report) below(name string, value float64, unit string, limit float64) {
	r.figures = append(r.figures, figure{name, value, unit, "under " + format(limit), !(value < limit)})
}

// write writes a table for people, and a line for each figure for programs. Without figures it writes nothing.
func (r *report) write(w io.Writer) error {
	if len(r.figures) == 0 {
		return nil
	}
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "%s\n\nFIGURE\tVALUE\t\tTARGET\t\n", r.machine)
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

// format writes a number with three decimals at the most.
func format(v float64) string { return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64) }
