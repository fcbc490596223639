package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"
)

// errInUse: another process has the lock.
var errInUse = errors.New("it is in use by another server: stop that one, or use another database")

// takeLock opens a session that takes the lock and holds it. A process that was killed loses the lock within moments; one whose machine has
// died loses it within half a minute.
func (p *Databases) takeLock(ctx context.Context, open func(context.Context, database) (*pgx.Conn, error)) error {
	conn, err := open(ctx, p.executions)
	if err != nil {
		return err
	}
	if err := p.holdLock(ctx, conn); err != nil {
		_ = conn.Close(ctx)
		return err
	}
	p.lock = conn
	return nil
}

func (p *Databases) holdLock(ctx context.Context, conn *pgx.Conn) error {
	// Without these settings the server would keep the session of a machine that has died, and so the lock, for hours.
	if _, err := conn.Exec(ctx, `SELECT set_config('application_name', $1, false), set_config('tcp_keepalives_idle', '10', false),
		set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false)`, p.name); err != nil {
		return err
	}
	for deadline := time.Now().Add(lockPatience); ; {
		var ours bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, $2)", lockClass, lockObject).Scan(&ours); err != nil || ours {
			return err
		}
		h, err := lockHolder(ctx, conn)
		if err != nil {
			return err
		}
		switch {
		case h.name == p.name: // our own session, whose connection was lost: PostgreSQL has not noticed yet
			if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend($1)", h.pid); err != nil {
				return err
			}
		case h.pid != 0 && time.Now().After(deadline):
			return fmt.Errorf("%w (it connects from %s, since %s)", errInUse, h.address, h.since.UTC().Format(time.RFC3339))
		}
		select {
		case <-time.After(lockPatience / 20):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

type holder struct {
	pid           int // 0 if nobody holds it
	name, address string
	since         time.Time
}

func lockHolder(ctx context.Context, conn *pgx.Conn) (h holder, err error) {
	err = conn.QueryRow(ctx, `
		SELECT a.pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'the same machine'), coalesce(a.backend_start, now())
		FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2 AND l.objsubid = 2
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`, lockClass, lockObject,
	).Scan(&h.pid, &h.name, &h.address, &h.since)
	if errors.Is(err, pgx.ErrNoRows) {
		return holder{}, nil
	}
	return h, err
}

// watch notices when the lock is lost, and takes it again when PostgreSQL is back. Temporal itself survives that PostgreSQL is away. Its
// writes are fenced (by the range ids of its shards), so nothing is damaged before watch has noticed that somebody else has the lock.
func (p *Databases) watch(ctx context.Context) {
	defer close(p.watched)
	for ctx.Err() == nil {
		lost := p.beat(ctx)
		if lost == nil || ctx.Err() != nil {
			continue
		}
		p.log.Warn("the connection to temporal's PostgreSQL is lost, making a new one", zap.Error(oneLine{lost}))
		_ = p.lock.Close(ctx)
		if err := p.regain(ctx); err != nil {
			p.failed <- fmt.Errorf("PostgreSQL, %s: %w", p.executions.where(), oneLine{err})
			return
		}
	}
}

// beat returns nil after an interval. It returns an error at once when the session has ended, and when a query fails.
func (p *Databases) beat(ctx context.Context) error {
	idle, cancel := context.WithTimeout(ctx, beatInterval)
	defer cancel()
	if _, err := p.lock.WaitForNotification(idle); p.lock.IsClosed() {
		return err
	}
	ctx, cancel = context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var readOnly bool
	if err := p.lock.QueryRow(ctx, "SELECT current_setting('transaction_read_only')::bool").Scan(&readOnly); err != nil {
		return err
	}
	p.setReadOnly(readOnly)
	return nil
}

// regain takes the lock again. It returns nil once the lock is ours or ctx has ended, and an error when the lock can't be ours any more.
func (p *Databases) regain(ctx context.Context) error {
	began, said := time.Now(), time.Now()
	for ctx.Err() == nil {
		err := p.retake(ctx)
		switch {
		case err == nil:
			p.setReadOnly(false)
			p.log.Info("temporal's PostgreSQL is back", zap.Duration("after", time.Since(began)))
			return nil
		case errors.Is(err, errInUse), errors.Is(err, errNotOurs):
			return err
		}
		p.trouble.Store(&errAway)
		if time.Since(said) >= progressEvery {
			said = time.Now()
			p.log.Warn("temporal's PostgreSQL is still away", zap.Duration("for", time.Since(began)), zap.Error(oneLine{err}))
		}
		select {
		case <-time.After(reachInterval):
		case <-ctx.Done():
		}
	}
	return nil
}

func (p *Databases) retake(ctx context.Context) error {
	// A missing database is not created: somebody may be about to restore it.
	err := p.takeLock(ctx, connect)
	if err == nil {
		if err = p.checkUnchanged(ctx); err != nil {
			_ = p.lock.Close(ctx)
		}
	}
	return err
}

// checkUnchanged returns an error unless both schemas are as this process left them.
func (p *Databases) checkUnchanged(ctx context.Context) error {
	if err := p.executions.checkCurrent(ctx, p.lock); err != nil {
		return err
	}
	conn, err := connect(ctx, p.visibility)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return p.visibility.checkCurrent(ctx, conn)
}

func (p *Databases) setReadOnly(readOnly bool) {
	was := p.trouble.Load()
	switch {
	case !readOnly:
		p.trouble.Store(nil)
		if was == &errReadOnly {
			p.log.Info("temporal's PostgreSQL can be written to again")
		}
	case was == nil:
		p.trouble.Store(&errReadOnly)
		p.log.Error("temporal's PostgreSQL has become read-only, nothing is taken until it is not")
	}
}

// unlock ends the session, which gives the lock back.
func (p *Databases) unlock(ctx context.Context) {
	if p.lock == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = p.lock.Close(ctx)
}
