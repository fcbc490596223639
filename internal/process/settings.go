package process

import (
	"context"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/backoff"
	"storekeeper/internal/build"
	"storekeeper/internal/storemanager"
)

// SettingsKeeper keeps what a process has begun with.
type SettingsKeeper interface {
	NoteSettings(ctx context.Context, s storemanager.Settings) error
}

// Settings are those that the process has begun with, as the audit trail compares them.
func (p *Process) Settings() storemanager.Settings {
	return storemanager.Settings{Process: string(p.Role), Version: build.Version, Values: p.Config.Shown()}
}

// NoteSettings tells the store manager what the process has begun with, so that the audit trail has what differs from the start before. While it is
// away, it is tried again, until ctx ends.
func (p *Process) NoteSettings(ctx context.Context, keeper SettingsKeeper) {
	const longestDelay = time.Minute
	settings := p.Settings()
	for delay := time.Second; ; delay = min(2*delay, longestDelay) {
		err := keeper.NoteSettings(ctx, settings)
		if err == nil {
			return
		}
		p.Log.Debug("settings not noted yet", zap.Error(err))
		if !backoff.Sleep(ctx, delay) {
			return
		}
	}
}
