package term

import (
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// Cell is a text of a table, without control characters, and its style.
type Cell struct {
	Text  string
	Style Style
}

// Column is a column of a table.
type Column struct {
	Title string
	// Least is the width, in cells of the terminal, that the column keeps when there is not enough room; 0: it is never cut.
	Least int
	// Optional columns are left out of a terminal that is too narrow even so: 1 first, then 2, and so on; 0: never.
	Optional int
	out      bool
}

const (
	gap = "  "
	cut = "…"
)

// Table writes rows under the titles of their columns, one line each. Without a terminal nothing is cut, and an empty cell is "-", so that
// programs can count columns.
type Table struct {
	Screen  Screen
	Columns []Column
	widths  []int // of the rows so far
}

// Fits says whether the rows fit the terminal without a cut.
func (t *Table) Fits(rows [][]Cell) bool {
	return t.Screen.Width == 0 || t.total(t.natural(rows)) <= t.Screen.Width
}

// total is the width of a line.
func (t *Table) total(widths []int) int {
	total := -len(gap)
	for i, width := range widths {
		if !t.Columns[i].out {
			total += width + len(gap)
		}
	}
	return total
}

// natural are the widths that nothing is cut with.
func (t *Table) natural(rows [][]Cell) []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = runewidth.StringWidth(c.Title)
		if t.widths != nil {
			widths[i] = max(widths[i], t.widths[i])
		}
		for _, row := range rows {
			widths[i] = max(widths[i], runewidth.StringWidth(row[i].Text))
		}
	}
	return widths
}

// Lines lays out more rows. The first call begins with the titles.
func (t *Table) Lines(rows [][]Cell) string {
	var b strings.Builder
	first := t.widths == nil
	t.widths = t.fitted(rows)
	if first {
		titles := make([]Cell, len(t.Columns))
		for i, c := range t.Columns {
			titles[i] = Cell{c.Title, Bold}
		}
		t.line(&b, titles)
	}
	for _, row := range rows {
		t.line(&b, row)
	}
	return b.String()
}

// fitted are widths that fit the terminal, if that can be: the widest column that may be cut gives first.
func (t *Table) fitted(rows [][]Cell) []int {
	widths := t.natural(rows)
	if t.Screen.Width == 0 {
		return widths
	}
	t.leaveOut(widths)
	for over := t.total(widths) - t.Screen.Width; over > 0; over-- {
		widest := -1
		for i, c := range t.Columns {
			if !c.out && c.Least > 0 && widths[i] > c.Least && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break // it is too narrow for anything
		}
		widths[widest]--
	}
	return widths
}

// leaveOut leaves out columns until the rest fits when it is cut as far as it may be.
func (t *Table) leaveOut(widths []int) {
	least := slices.Clone(widths)
	for i, c := range t.Columns {
		if c.Least > 0 {
			least[i] = min(widths[i], c.Least)
		}
	}
	for rank := 1; rank <= len(t.Columns) && t.total(least) > t.Screen.Width; rank++ {
		for i, c := range t.Columns {
			t.Columns[i].out = c.out || c.Optional == rank
		}
	}
}

func (t *Table) line(b *strings.Builder, row []Cell) {
	var line strings.Builder
	for i, cell := range row {
		text := cell.Text
		switch {
		case t.Screen.Width > 0:
			text = runewidth.Truncate(text, t.widths[i], cut)
		case text == "":
			text = "-"
		}
		if t.Columns[i].out {
			continue
		}
		if line.Len() > 0 {
			line.WriteString(gap)
		}
		line.WriteString(t.Screen.Paint(cell.Style, text))
		if i < len(row)-1 {
			line.WriteString(strings.Repeat(" ", max(0, t.widths[i]-runewidth.StringWidth(text))))
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}
