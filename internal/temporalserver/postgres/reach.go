package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"
)

// reach takes the lock once PostgreSQL is there. It waits for a server that starts or has no free connection, and does not wait for one
// that refuses.
func (p *Databases) reach(ctx context.Context, patience time.Duration) error {
	var said time.Time
	for deadline := time.Now().Add(patience); ; {
		err := p.takeLock(ctx, p.open) // the URL's connect_timeout bounds it
		switch {
		case err == nil, lasting(err):
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case !time.Now().Before(deadline):
			return fmt.Errorf("it could not be reached for %s: start it, or correct the URL: %w", patience, err)
		case time.Since(said) >= progressEvery:
			said = time.Now()
			p.log.Warn("temporal's PostgreSQL can't be reached yet, waiting for it", zap.String("database", p.executions.where()), zap.Error(oneLine{err}))
		}
		select {
		case <-time.After(reachInterval):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// lasting says whether the failure would still be there in a minute.
func lasting(err error) bool {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch refusal.Code[:2] {
		case "08", "53", "57": // lost connections, lack of resources, a server that starts or stops
			return false
		}
		return true
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return untrusted || errors.Is(err, errInUse)
}

// open connects, and creates the database first if it does not exist.
func (p *Databases) open(ctx context.Context, d database) (*pgx.Conn, error) {
	conn, err := connect(ctx, d)
	if code(err) != "3D000" { // invalid_catalog_name
		return conn, err
	}
	if err := p.create(ctx, d.config.Database); err != nil {
		return nil, err
	}
	p.log.Info("database of temporal created", zap.String("database", d.where()))
	return connect(ctx, d)
}

func (p *Databases) create(ctx context.Context, name string) error {
	admin := p.executions.config.Copy()
	admin.Database = "postgres"
	conn, err := pgx.ConnectConfig(ctx, admin)
	if err == nil {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
		_ = conn.Close(ctx)
	}
	if err != nil && code(err) != "42P04" { // duplicate_database
		return fmt.Errorf("database %s is missing and can't be created (%w): have somebody who may run CREATE DATABASE %s; CREATE DATABASE %s;",
			name, err, p.ownedBy(p.executions), p.ownedBy(p.visibility))
	}
	return nil
}

func (p *Databases) ownedBy(d database) string {
	return pgx.Identifier{d.config.Database}.Sanitize() + " OWNER " + pgx.Identifier{d.config.User}.Sanitize()
}
