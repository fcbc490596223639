package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// What Shown has in place of a secret.
const (
	secretSet   = "set"
	secretUnset = "unset"
)

// ownAddresses differ between processes of a role.
var ownAddresses = []string{"LISTEN", "PORT", "STORE_MANAGER_LISTEN", "METRICS_LISTEN"}

// Shown are the settings by the names of their variables, for whoever compares those of two starts: of a secret only whether it is set, of sync backends
// of single stores only for how many there is one, no query, which may hold secrets, and not where the process itself listens.
func (c *Config) Shown() map[string]string {
	shown := map[string]string{}
	for field, value := range fields(c) {
		name := field.Tag.Get("env")
		if name == "" || slices.Contains(ownAddresses, name) {
			continue
		}
		shown[name] = shownValue(field.Type, value)
	}
	return shown
}

func shownValue(kind reflect.Type, value reflect.Value) string {
	if isSecret(kind) {
		if value.IsZero() {
			return secretUnset
		}
		return secretSet
	}
	switch v := value.Interface().(type) {
	case SyncURL:
		address, _, _ := strings.Cut(string(v), "?")
		return address
	case SyncURLs:
		return fmt.Sprintf("%d stores", len(v))
	case Milliseconds:
		return time.Duration(v).String()
	case IDs:
		return strings.Join(v, ",")
	}
	return fmt.Sprint(value.Interface())
}
