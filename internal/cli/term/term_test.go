package term_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/cli/term"
)

func variables(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

// terminal is a real one of this size.
func terminal(t *testing.T, columns, rows uint16) *os.File {
	t.Helper()
	ours, theirs, err := pty.Open()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	require.NoError(t, pty.Setsize(theirs, &pty.Winsize{Cols: columns, Rows: rows}))
	return theirs
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	t.Parallel()
	tty := terminal(t, 100, 30)
	for name, tc := range map[string]struct {
		tty       bool
		variables []string
		want      bool
	}{
		"a terminal":                   {true, nil, true},
		"a pipe":                       {false, nil, false},
		"a terminal without NO_COLOR":  {true, []string{"NO_COLOR", ""}, true},
		"a terminal with NO_COLOR":     {true, []string{"NO_COLOR", "1"}, false},
		"a dumb terminal":              {true, []string{"TERM", "dumb"}, false},
		"a pipe that is forced":        {false, []string{"CLICOLOR_FORCE", "1"}, true},
		"a pipe that is not forced":    {false, []string{"CLICOLOR_FORCE", "0"}, false},
		"forced, and NO_COLOR as well": {true, []string{"CLICOLOR_FORCE", "1", "NO_COLOR", "1"}, false},
	} {
		if tc.tty {
			require.Equal(t, term.Screen{Width: 100, Height: 30, Colour: tc.want}, term.Of(tty, variables(tc.variables...)), name)
		} else {
			require.Equal(t, term.Screen{Colour: tc.want}, term.Of(&strings.Builder{}, variables(tc.variables...)), name)
		}
	}
	require.Equal(t, "\x1b[31mx\x1b[0m", term.Screen{Colour: true}.Paint(term.Red, "x"))
	require.Equal(t, "x", term.Screen{}.Paint(term.Red, "x"))
	require.Equal(t, term.Screen{Width: 80, Height: 24, Colour: true}, term.Of(terminal(t, 0, 0), variables()), "it does not know its size")
}

func rows(texts ...[]string) (all [][]term.Cell) {
	for _, row := range texts {
		var cells []term.Cell
		for _, text := range row {
			cells = append(cells, term.Cell{Text: text})
		}
		all = append(all, cells)
	}
	return all
}

func TestATableFitsTheTerminalAndCutsNothingForAPipe(t *testing.T) {
	t.Parallel()
	columns := []term.Column{{Title: "ID"}, {Title: "NAME", Least: 6, Optional: 1}, {Title: "WHY", Least: 6}}
	long := rows([]string{"store-1", "家族の写真とビデオのワークスペース", strings.Repeat("because ", 20)}, []string{"store-2", "", "x"})
	narrow := &term.Table{Screen: term.Screen{Width: 50}, Columns: columns}
	require.False(t, narrow.Fits(long))
	for line := range strings.Lines(narrow.Lines(long)) {
		require.LessOrEqual(t, runewidth.StringWidth(strings.TrimSuffix(line, "\n")), 50, line)
	}
	require.NotContains(t, (&term.Table{Screen: term.Screen{Width: 16}, Columns: slices.Clone(columns)}).Lines(long), "NAME", "there is no room for it")
	piped := &term.Table{Columns: columns}
	require.True(t, piped.Fits(long))
	text := piped.Lines(long)
	require.Contains(t, text, strings.TrimSpace(strings.Repeat("because ", 20)))
	require.Regexp(t, `(?m)^store-2  -  +x$`, text)
	require.Equal(t, 3, strings.Count(text, "\n"))
	require.Equal(t, 1, strings.Count(piped.Lines(rows([]string{"store-3", "n", "w"})), "\n"), "the titles come once")
}
