package dbfile_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/dbfile"
)

// failure has the form of an error of the driver.
type failure int

func (f failure) Error() string { return fmt.Sprintf("code %d", int(f)) }
func (f failure) Code() int     { return int(f) }

func TestAnErrorOfSQLiteComesWithWhatToDoAboutIt(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]struct {
		fault dbfile.Fault
		text  string
	}{
		1:                {dbfile.NoFault, ""},
		5:                {dbfile.Locked, "another program has it locked, end that one: "},
		6:                {dbfile.Locked, "another program has it locked, end that one: "},
		3:                {dbfile.Unwritable, "this user may not write to it, or to its directory: "},
		8:                {dbfile.Unwritable, "this user may not write to it, or to its directory: "},
		14:               {dbfile.Unwritable, "this user may not write to it, or to its directory: "},
		13:               {dbfile.DiskFull, "the disk is full: "},
		26:               {dbfile.NotSQLite, ""},
		11:               {dbfile.Damaged, ""},
		11 | 1<<8:        {dbfile.Damaged, ""}, // a kind of SQLITE_CORRUPT
		10 | 10<<8:       {dbfile.NoFault, ""}, // SQLITE_IOERR_DELETE
		5 | 1<<8 | 1<<16: {dbfile.Locked, "another program has it locked, end that one: "},
	} {
		err := fmt.Errorf("look: %w", failure(code))
		require.Equal(t, want.fault, dbfile.FaultOf(err), code)
		explained := dbfile.Explain(err)
		require.EqualError(t, explained, want.text+err.Error())
		require.ErrorIs(t, explained, failure(code))
	}
	for _, err := range []error{nil, errors.New("another one")} {
		require.Equal(t, dbfile.NoFault, dbfile.FaultOf(err))
		require.Equal(t, err, dbfile.Explain(err))
	}
}

func TestTheErrorsOfTheDriverSayWhatIsWrongWithAFile(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "some.db")
	require.NoError(t, os.WriteFile(text, []byte("this is a text, and far too short for a page"), 0o600))
	for path, want := range map[string]dbfile.Fault{text: dbfile.NotSQLite, filepath.Join(text, "below a file"): dbfile.Unwritable} {
		db, err := sql.Open("sqlite", dbfile.URI(path))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		_, err = db.ExecContext(t.Context(), "CREATE TABLE t (x)")
		require.Equal(t, want, dbfile.FaultOf(err), err)
	}
}
