package cli

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
)

const (
	actorVariable = "STOREKEEPER_ACTOR"
	actorUsage    = "who (default $" + actorVariable + ", else the name or id of the user who runs this)"
)

// trimReason checks the flags that say why and who.
func (a *app) trimReason(reason, actor *string) error {
	*reason = strings.TrimSpace(*reason)
	if *reason == "" {
		return usageError("--reason must not be empty")
	}
	return a.nameActor(actor)
}

// nameActor fills in who runs the CLI when no actor is given, or an empty one.
func (a *app) nameActor(actor *string) error {
	if *actor = strings.TrimSpace(*actor); *actor != "" {
		return nil
	}
	if err := a.spelling(); err != nil {
		return err
	}
	name, _ := environ(a.Environ).LookupEnv(actorVariable)
	*actor = firstOf(strings.TrimSpace(name), a.userName(os.Getuid()))
	return nil
}

// userName is never empty: containers and services often have neither USER nor an entry in /etc/passwd.
func (a *app) userName(uid int) string {
	for _, name := range []string{"USER", "LOGNAME"} {
		if value, _ := environ(a.Environ).LookupEnv(name); strings.TrimSpace(value) != "" {
			return strings.TrimSpace(value)
		}
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil && u.Username != "" {
		return u.Username
	}
	return fmt.Sprintf("uid %d", uid)
}
