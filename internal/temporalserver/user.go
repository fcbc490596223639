package temporalserver

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// nameUser sets USER and HOME for a user who has neither. Temporal's server does not start without a name, and a container may run as any
// user id. Only a static binary (CGO_ENABLED=0) reads the name from the environment.
func nameUser() error {
	uid := strconv.Itoa(os.Getuid())
	for name, value := range lacking(uid, os.Getenv) {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	if _, err := user.Current(); err != nil {
		return fmt.Errorf("the user id %s is not in /etc/passwd, and this binary was built with cgo: use one of make build", uid)
	}
	return nil
}

// lacking returns the variables to set for a user whom the system does not know; nil if it does.
func lacking(uid string, getenv func(string) string) map[string]string {
	if _, err := user.LookupId(uid); err == nil {
		return nil
	}
	vars := map[string]string{}
	for name, value := range map[string]string{"USER": "uid-" + uid, "HOME": os.TempDir()} {
		if getenv(name) == "" {
			vars[name] = value
		}
	}
	return vars
}
