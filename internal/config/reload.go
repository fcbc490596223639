package config

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// live is what a Config needs to read the files of its secrets again.
type live struct {
	environ []string
	role    Role
	files   secretFiles // never empty

	mu      sync.Mutex // held while the files are read
	newest  atomic.Pointer[Config]
	refused atomic.Pointer[Refusal] // nil: the newest content of all files is used
}

// Refusal says since when the files of secrets have a content that is not used.
type Refusal struct {
	At  time.Time
	Err error
}

// Newest returns the settings with the secrets as they were read last. It is the one to ask for a secret at each use; any other setting is
// that of c. It is c itself unless a file has changed.
func (c *Config) Newest() *Config {
	if c.live == nil {
		return c
	}
	if newest := c.live.newest.Load(); newest != nil {
		return newest
	}
	return c
}

// Files are the paths of the files of secrets, by the names of the secrets; nil if there are none.
func (c *Config) Files() map[string]string {
	if c.live == nil {
		return nil
	}
	return c.live.files
}

// OpenFiles are the files of secrets that all users of the machine may read, as "NAME_FILE=path".
func (c *Config) OpenFiles() []string {
	if c.live == nil {
		return nil
	}
	return c.live.files.open()
}

// Refused is nil unless the files of secrets have a content that is not used.
func (c *Config) Refused() *Refusal {
	if c.live == nil {
		return nil
	}
	return c.live.refused.Load()
}

// RefusedNames are the names of the secrets that Refused is about, sorted; those of all files if it names none.
func (c *Config) RefusedNames() []string {
	refused := c.Refused()
	if refused == nil {
		return nil
	}
	all := slices.Sorted(maps.Keys(c.live.files))
	named := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !strings.Contains(refused.Err.Error(), name) })
	if len(named) == 0 {
		return all
	}
	return named
}

// Reload reads the files of secrets again, and returns the names of the secrets that have changed. Unless there are none, it has before see the
// new settings, which it may refuse, and makes them the Newest. All of them are taken or none: the error has one line for each that can't be, never quotes a secret, and is the one of Refused from
// then on. It is safe for concurrent use.
func (c *Config) Reload(before func(next *Config) error) (changed []string, err error) {
	if c.live == nil {
		return nil, nil
	}
	c.live.mu.Lock()
	defer c.live.mu.Unlock()
	next, err := Load(c.live.environ, c.live.role)
	if err == nil {
		changed = c.changed(next)
	}
	if len(changed) > 0 {
		err = before(next)
	}
	if err != nil {
		since := time.Now()
		if earlier := c.live.refused.Load(); earlier != nil {
			since = earlier.At
		}
		c.live.refused.Store(&Refusal{since, err})
		return nil, err
	}
	c.live.refused.Store(nil)
	if len(changed) > 0 {
		next.live = nil // c alone is reloaded
		c.live.newest.Store(next)
	}
	return changed, nil
}

// changed are the names of the secrets from files that next has another value of.
func (c *Config) changed(next *Config) (names []string) {
	old := reflect.ValueOf(c.Newest()).Elem()
	for field, value := range fields(next) {
		name := field.Tag.Get("env")
		if _, file := c.live.files[name]; file && !reflect.DeepEqual(value.Interface(), old.FieldByName(field.Name).Interface()) {
			names = append(names, name)
		}
	}
	return names
}

// FilesNow tells one content of the files of secrets from another, and from files that can't be read; "" when there are none.
func (c *Config) FilesNow() string {
	if c.live == nil {
		return ""
	}
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c.live.files)) {
		content, err := readSecret(c.live.files[name])
		fmt.Fprintf(&all, "%s %x %v\n", name, sha256.Sum256([]byte(content)), err)
	}
	return all.String()
}
