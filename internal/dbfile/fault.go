package dbfile

import (
	"errors"
	"fmt"
)

// Fault is what an error of SQLite says about a database file.
type Fault int

// The faults.
const (
	// NoFault: the error is not SQLite's, or says nothing about the file.
	NoFault Fault = iota
	// Locked: another program has locked the file.
	Locked
	// Unwritable: this user may not write to the file, or not to its directory.
	Unwritable
	// DiskFull: there is no room for more.
	DiskFull
	// NotSQLite: the file is no SQLite database, or its first page is damaged.
	NotSQLite
	// Damaged: the file contradicts itself.
	Damaged
)

// The result codes of SQLite that are faults, from https://www.sqlite.org/rescode.html.
var faults = map[int]Fault{
	3: Unwritable, 8: Unwritable, 14: Unwritable, // SQLITE_PERM, SQLITE_READONLY, SQLITE_CANTOPEN
	5: Locked, 6: Locked, // SQLITE_BUSY, SQLITE_LOCKED
	11: Damaged,   // SQLITE_CORRUPT
	13: DiskFull,  // SQLITE_FULL
	26: NotSQLite, // SQLITE_NOTADB
}

// FaultOf says which fault of a file the error is about. The error may be wrapped; nil is NoFault.
func FaultOf(err error) Fault {
	failure, ok := errors.AsType[interface {
		error
		Code() int // of the driver's errors
	}](err)
	if !ok {
		return NoFault
	}
	return faults[failure.Code()&0xff] // the higher bits tell kinds of one code apart
}

// Explain adds to an error of SQLite what to do about a file that is locked or can't be written to, and about a full disk. It returns other errors
// as they are, nil too. What to do about a file that is NotSQLite or Damaged depends on what it holds, so the caller must say.
func Explain(err error) error {
	switch FaultOf(err) {
	case Locked:
		return fmt.Errorf("another program has it locked, end that one: %w", err)
	case Unwritable:
		return fmt.Errorf("this user may not write to it, or to its directory: %w", err)
	case DiskFull:
		return fmt.Errorf("the disk is full: %w", err)
	case NoFault, NotSQLite, Damaged:
	}
	return err
}
