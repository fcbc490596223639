package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"storekeeper/contract"
)

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
	terminal := isTerminal(a.Stderr)
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

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
