// Package term lays out what the CLI shows: tables that fit the terminal, and colours where it wants them.
package term

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Screen is what text is written for. The zero Screen is a file or a pipe: nothing is cut, and nothing is coloured.
type Screen struct {
	// Width and Height are those of the terminal; 0 without one.
	Width, Height int
	// Colour says whether colours are wanted.
	Colour bool
}

// Of looks at what w is. lookup finds a variable of the environment: NO_COLOR (any value) and TERM=dumb mean no colours, and CLICOLOR_FORCE
// (but 0) means colours even without a terminal. NO_COLOR has the last word.
func Of(w io.Writer, lookup func(name string) (string, bool)) Screen {
	var s Screen
	dumb, _ := lookup("TERM")
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil {
			s = Screen{Width: max(width, 40), Height: max(height, 10), Colour: dumb != "dumb"} // a terminal that says 0 does not know
			if width == 0 {
				s.Width, s.Height = 80, 24
			}
		}
	}
	if force, ok := lookup("CLICOLOR_FORCE"); ok && force != "" && force != "0" {
		s.Colour = true
	}
	if no, ok := lookup("NO_COLOR"); ok && no != "" {
		s.Colour = false
	}
	return s
}

// Style is how a text is shown where colours are wanted.
type Style string

// The styles.
const (
	Plain  Style = ""
	Bold   Style = "1"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
)

// Paint returns the text in the style, if colours are wanted.
func (s Screen) Paint(style Style, text string) string {
	if !s.Colour || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}
