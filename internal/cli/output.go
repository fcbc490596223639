package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"

	"storekeeper/contract"
	"storekeeper/internal/cli/temporalclient"
	"storekeeper/internal/cli/term"
	"storekeeper/internal/cli/text"
)

// printf writes text for people to stdout. Strings among args may come from others, so they are made plain. The first error of a write is
// kept in stdoutErr, and Run reports it: a script must not take part of the output for all of it.
func (a *app) printf(format string, args ...any) {
	for i, arg := range args {
		if v := reflect.ValueOf(arg); v.Kind() == reflect.String {
			args[i] = text.Plain(v.String())
		}
	}
	_, err := fmt.Fprintf(a.Stdout, format, args...)
	a.keep(err)
}

// print writes text to stdout in which there is nothing of others that was not made plain.
func (a *app) print(text string) {
	_, err := io.WriteString(a.Stdout, text)
	a.keep(err)
}

// screen is what stdout is.
func (a *app) screen() term.Screen {
	if a.pinned != nil {
		return *a.pinned
	}
	return term.Of(a.Stdout, a.lookup)
}

func (a *app) lookup(name string) (string, bool) {
	return temporalclient.Environ(a.Environ).LookupEnv(name)
}

// tell writes to stderr. Errors are dropped: the exit code says enough.
func (a *app) tell(format string, args ...any) { _, _ = fmt.Fprintf(a.Stderr, format, args...) }

// writeJSON writes v to stdout.
func (a *app) writeJSON(v any) { a.keep(text.WriteJSON(a.Stdout, v)) }

func (a *app) keep(err error) {
	if a.stdoutErr == nil {
		a.stdoutErr = err
	}
}

const (
	progressPoll = 200 * time.Millisecond
	// progressLine is how often progress within one phase is shown when stderr is no terminal.
	progressLine = 10 * time.Second
	barWidth     = 24
)

// askProgress returns nil if nothing is known at the moment.
type askProgress func(context.Context) *contract.Progress

// progress shows on stderr how far the awaited work is: on a terminal in one line that is redrawn, elsewhere in plain lines. If ask is nil,
// only the time is shown. The caller must call stop.
func (a *app) progress(ctx context.Context, what string, ask askProgress) (stop func()) {
	if a.json {
		return func() {}
	}
	terminal := term.Of(a.Stderr, a.lookup).Width > 0
	if !terminal {
		a.tell("%s is under way\n", what)
		if ask == nil {
			return func() {}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	began := time.Now()
	var plain plainProgress
	var ticking sync.WaitGroup
	ticking.Go(func() {
		ticker := time.NewTicker(progressPoll)
		defer ticker.Stop()
		var p *contract.Progress
		for {
			if ask != nil {
				if now := ask(ctx); now != nil {
					p = now
				}
			}
			switch {
			case terminal:
				a.tell("\r\x1b[K%s is under way, %s%s", what, time.Since(began).Truncate(time.Second), bar(p))
			case p != nil && plain.due(*p, time.Now()):
				a.tell("%s: %s\n", p.Phase, doneOf(*p))
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				if terminal {
					a.tell("\r\x1b[K")
				}
				return
			}
		}
	})
	return func() {
		cancel()
		ticking.Wait()
	}
}

// plainProgress is what was shown last.
type plainProgress struct {
	phase string
	at    time.Time
}

// due says whether to show p: a new phase at once, the same phase every progressLine.
func (t *plainProgress) due(p contract.Progress, now time.Time) bool {
	if p.Phase == t.phase && now.Sub(t.at) < progressLine {
		return false
	}
	t.phase, t.at = p.Phase, now
	return true
}

func doneOf(p contract.Progress) string {
	if p.Total <= 0 {
		return fmt.Sprint(p.Done)
	}
	return fmt.Sprintf("%d of %d", p.Done, p.Total)
}

// bar draws p; "" for nil. If the total is not known, only the count is shown.
func bar(p *contract.Progress) string {
	switch {
	case p == nil:
		return ""
	case p.Total <= 0:
		return fmt.Sprintf("  %s %s", p.Phase, doneOf(*p))
	}
	full := barWidth * max(0, min(p.Done, p.Total)) / p.Total
	return fmt.Sprintf("  %s [%s%s] %s", p.Phase, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), doneOf(*p))
}

const (
	// watchEvery is how long a watch waits between two looks. A look that takes long is followed by a longer wait.
	watchEvery = 2 * time.Second
	watchShare = 5
)

// watched is one thing that is watched: its key, and a line about it.
type watched struct {
	key, line string
	value     json.RawMessage
}

// relative are the parts of a line that change by themselves: how far away a moment is.
var relative = regexp.MustCompile(` \((in )?[0-9dhms.µn]+( ago)?\)`)

// watch looks again and again until ctx ends, which is how a watch should end, or the first look fails. On a terminal look shows what it
// found, with show; elsewhere a line tells of each change, or a JSON value does.
func (a *app) watch(ctx context.Context, look func(ctx context.Context, a *app) ([]watched, error)) error {
	screen := a.screen()
	redraw := screen.Width > 0 && !a.json
	var before map[string]watched
	complaint := ""
	for {
		began := time.Now()
		copied := *a
		copied.silent = !redraw
		var shown bytes.Buffer
		if redraw {
			copied.Stdout, copied.Stderr, copied.pinned = &shown, &shown, &screen
		}
		now, err := look(ctx, &copied)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // this is how a watch ends
		case err != nil && before == nil:
			return err
		case err != nil && redraw:
			a.print("\x1b[" + strconv.Itoa(screen.Height) + ";1H\x1b[K" + screen.Paint(term.Red, text.Plain(runewidth.Truncate(err.Error(), screen.Width-1, "…"))))
		case err != nil:
			if err.Error() != complaint {
				a.tell("starter: %s\n", text.PlainLines(err.Error()))
			}
			complaint = err.Error()
		case redraw:
			screen = term.Of(a.Stdout, a.lookup) // it may have been resized
			a.print("\x1b[H\x1b[J" + firstLines(shown.String(), screen.Height-2) + "\n" + time.Now().Format(time.TimeOnly) + "  Ctrl-C ends this")
			before = map[string]watched{}
		default:
			before, complaint = a.tellChanges(before, now), ""
		}
		if a.stdoutErr != nil {
			return nil //nolint:nilerr // Run reports it
		}
		select {
		case <-ctx.Done():
			if redraw {
				a.print("\n")
			}
			return nil
		case <-time.After(max(watchEvery, watchShare*time.Since(began))):
		}
	}
}

// firstLines are the first n lines of a text, and how many more there are.
func firstLines(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	if len(lines) <= n {
		return text
	}
	return strings.Join(lines[:n-1], "") + fmt.Sprintf("and %d more lines\n", len(lines)-n)
}

// show runs a command for its text, unless nobody would see it.
func (a *app) show(command func(*app) error) error {
	if a.silent {
		return nil
	}
	return command(a)
}

// tellChanges tells what is new, other or gone, and returns what is so now.
func (a *app) tellChanges(before map[string]watched, now []watched) map[string]watched {
	stamp := time.Now().UTC().Format(time.RFC3339)
	after := map[string]watched{}
	for _, w := range now {
		w.line = relative.ReplaceAllString(w.line, "")
		after[w.key] = w
		switch old, known := before[w.key]; {
		case known && old.line == w.line:
		case a.json:
			a.printf("%s\n", []byte(w.value))
		default:
			a.printf("%s  %s\n", stamp, w.line)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		switch _, still := after[key]; {
		case still:
		case a.json:
			a.writeJSON(map[string]any{"id": key, "gone": true})
		default:
			a.printf("%s  %s  gone\n", stamp, key)
		}
	}
	return after
}
