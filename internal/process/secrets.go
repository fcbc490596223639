package process

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/config"
)

// secretsPoll is how often the files of secrets are looked at. A change is taken when it was seen twice: a file may be half written.
const secretsPoll = time.Second

// followSecrets has the files of secrets read again when they change, and at each SIGHUP, until ctx ends or stop is called, which waits for the
// end.
func (p *Process) followSecrets(ctx context.Context) (stop func()) {
	if len(p.Config.Files()) == 0 {
		return func() {}
	}
	p.warnOfOpenFiles()
	p.Metrics.RegisterSecrets(func() bool { return p.Config.Refused() != nil })
	ctx, cancel := context.WithCancel(ctx)
	var hangup chan struct{} // nil: the process does not run in Main
	if h, ok := ctx.Value(hangupsKey{}).(*hangups); ok {
		h.reloads.Store(true)
		hangup = h.reload
	}
	var following sync.WaitGroup
	following.Go(func() {
		tick := time.NewTicker(secretsPoll)
		defer tick.Stop()
		for used, seen := "", ""; ; { // a file may have changed since the settings were read
			select {
			case <-ctx.Done():
				return
			case <-hangup:
				used = p.Config.FilesNow()
				p.reloadSecrets(true)
			case <-tick.C:
				now := p.Config.FilesNow()
				if now != used && now == seen {
					used = now
					p.reloadSecrets(false)
				}
				seen = now
			}
		}
	})
	return func() {
		cancel()
		following.Wait()
	}
}

// reloadSecrets takes what the files of secrets have now, or leaves all as it is. Either is logged; that nothing has changed only to who asked.
func (p *Process) reloadSecrets(asked bool) {
	changed, err := p.Config.Reload(p.prepareSecrets)
	if err != nil {
		p.Log.Error("secrets not reloaded, those from before stay", zap.String("error", strings.ReplaceAll(err.Error(), "\n", "; ")))
		return
	}
	const temporalDB = "TEMPORAL_DB"
	if slices.Contains(changed, temporalDB) {
		p.Log.Warn("secret changed, restart the process to have it used", zap.String("setting", temporalDB))
	}
	if asked || len(changed) > 0 {
		p.Log.Info("secrets reloaded", zap.Strings("changed", changed))
		p.warnOfOpenFiles()
	}
}

// prepareSecrets has logs and Sentry know the new secrets before anybody uses them.
func (p *Process) prepareSecrets(next *config.Config) error {
	p.redactor.Add(next.Secrets()...)
	if p.Sentry == nil || next.SentryDSN == p.Config.Newest().SentryDSN {
		return nil
	}
	if err := p.Sentry.SetDSN(string(next.SentryDSN)); err != nil {
		return fmt.Errorf("SENTRY_DSN: %w", err)
	}
	return nil
}

func (p *Process) warnOfOpenFiles() {
	if files := p.Config.OpenFiles(); len(files) > 0 {
		p.Log.Warn("all users of the machine may read files of secrets, take the right from them (chmod o-r)", zap.Strings("files", files))
	}
}
