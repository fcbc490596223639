package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
)

const actorUsage = "who (default $STOREKEEPER_ACTOR, else the name or id of the user who runs this)"

// trimReason checks the flags that say why and who. An actor that is not given, or empty, becomes whoever runs the CLI.
func (a *app) trimReason(reason, actor *string) error {
	*reason, *actor = strings.TrimSpace(*reason), strings.TrimSpace(*actor)
	if *reason == "" {
		return usageError("--reason must not be empty")
	}
	if *actor != "" {
		return nil
	}
	cfg, err := a.settings()
	if err != nil {
		return err
	}
	*actor = firstOf(strings.TrimSpace(cfg.Actor), a.userName(os.Getuid()))
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
