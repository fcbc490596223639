package manager

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"storekeeper/internal/backup"
	"storekeeper/internal/process"
	"storekeeper/internal/storemanager/registry/sqlite"
)

// Restore says which backup takes the place of the registry before it is opened. The zero value: none.
type Restore struct {
	// From is the folder of the backup; "" for none.
	From string
	// SetAside moves the registry that is there into a folder of its own. Without it there may be none.
	SetAside bool
}

// Flags adds the flags that say so to those of a command, whose data directory has that name.
func (r *Restore) Flags(f *pflag.FlagSet, dir string) {
	f.StringVar(&r.From, "restore", "", "begin with this backup, a folder that starter backup made: it is checked, and its files are put into "+dir+
		", which must have no databases. Leave it out at the next start")
	f.BoolVar(&r.SetAside, "set-aside", false, "with --restore: move the databases that are there into a folder of their own, set-aside-TIME")
}

// Apply puts the backup's files of these names into the data directory, and finishes a restore that was cut off there. What it did is logged.
func (r Restore) Apply(ctx context.Context, p *process.Process, dir string, names ...string) error {
	if r.From == "" {
		if r.SetAside {
			return errors.New("--set-aside is for --restore, which is missing")
		}
		finished, err := backup.Finish(dir)
		if err == nil && finished {
			p.Log.Warn("a restore that was cut off is done now", zap.String("dir", dir))
		}
		return err
	}
	done, err := backup.Restore(ctx, backup.RestoreOptions{From: r.From, To: dir, Files: names, SetAside: r.SetAside, MaxSchema: sqlite.NewestSchema()})
	if err != nil {
		return fmt.Errorf("--restore: %w", err)
	}
	p.Log.Warn("a backup was restored: no store is stopped before an operator has agreed (starter acknowledge)", zap.String("backup", r.From),
		zap.Time("createdAt", done.Manifest.CreatedAt), zap.Strings("files", done.Files), zap.String("setAside", done.SetAside))
	return nil
}
