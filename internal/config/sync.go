package config

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// SyncURL is the URL of a sync backend: ws, wss, http or https.
type SyncURL string

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *SyncURL) UnmarshalText(text []byte) error {
	parsed, err := url.Parse(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("it can't be parsed")
	case !slices.Contains([]string{"ws", "wss", "http", "https"}, parsed.Scheme), parsed.Host == "":
		return fmt.Errorf("it is no ws, wss, http or https URL")
	case parsed.User != nil, parsed.Fragment != "":
		return fmt.Errorf("it holds credentials or a fragment")
	}
	*u = SyncURL(text)
	return nil
}

// SyncURLs are the sync backends of single stores. The key is the <ID> of STORE_<ID>_SYNC_URL.
type SyncURLs map[string]SyncURL

// StoreSyncURL is the URL of the sync backend that has the store's events; "" means that there is none.
func (c *Config) StoreSyncURL(storeID string) string {
	if own, ok := c.SyncURLs[storeID]; ok {
		return string(own)
	}
	if own, ok := c.SyncURLs[strings.ToUpper(strings.ReplaceAll(storeID, "-", "_"))]; ok {
		return string(own)
	}
	return string(c.SyncURL)
}

// readSyncURLs reads the variables whose names hold a store id, and returns a line for each bad one.
func (c *Config) readSyncURLs(vars map[string]string) (problems []string) {
	field, _ := reflect.TypeFor[Config]().FieldByName("SyncURLs")
	before, after, _ := strings.Cut(field.Tag.Get("env"), "<ID>")
	for name, value := range vars {
		id, ok := strings.CutPrefix(name, before)
		if !ok {
			continue
		}
		if id, ok = strings.CutSuffix(id, after); !ok || id == "" {
			continue
		}
		var u SyncURL
		if !idPattern.MatchString(id) || u.UnmarshalText([]byte(value)) != nil {
			problems = append(problems, strings.Replace(problem(field, value), field.Tag.Get("env"), name, 1))
			continue
		}
		if c.SyncURLs == nil {
			c.SyncURLs = SyncURLs{}
		}
		c.SyncURLs[id] = u
	}
	slices.Sort(problems)
	return problems
}

// KindNode is the StoreManagerKind of an existing Node server that cmd/storemanager drives.
const KindNode = "node"

// conflicts returns what is wrong with settings that are each right by themselves.
func (c *Config) conflicts(role Role) (problems []string) {
	manages := role == RoleStoreManager || role == RoleStandalone
	if c.StoreManagerKind == KindNode {
		switch {
		case role == RoleWebhook || role == RoleWorker:
			problems = append(problems, "STORE_MANAGER_KIND=node is not accepted here: set it for cmd/storemanager, which keeps holds and "+
				"tombstones and drives the Node server, and let STORE_MANAGER_URL name cmd/storemanager")
		case manages && (c.NodeServerURL == "" || c.NodeServerSecret == ""):
			problems = append(problems, "STORE_MANAGER_KIND=node needs NODE_SERVER_URL and NODE_SERVER_WEBHOOK_SECRET")
		case manages && c.EventSinkURL != "":
			problems = append(problems, "EVENT_SINK_URL is of no use with STORE_MANAGER_KIND=node: the Node server processes events itself")
		}
	}
	if c.Operators.shares(c.BypassTokens) {
		problems = append(problems, "OPERATOR_TOKENS and SERVER_BYPASS_TOKEN share a token: give the operator one of its own")
	}
	if len(c.WebhookSecrets) > 0 {
		if _, err := c.Keyring(); err != nil {
			problems = append(problems, err.Error())
		}
	}
	if manages && (c.EventSinkURL == "") != (c.EventSinkSecret == "") {
		problems = append(problems, "EVENT_SINK_URL and EVENT_SINK_SECRET need each other")
	}
	if c.EventSinkSecret != "" && !signs(string(c.EventSinkSecret)) {
		field, _ := reflect.TypeFor[Config]().FieldByName("EventSinkSecret")
		problems = append(problems, problem(field, ""))
	}
	return problems
}

// signs says whether the secret can be the key of Standard Webhooks signatures (specification 1.0.0).
func signs(secret string) bool {
	encoded, ok := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	return ok && err == nil && len(key) >= 24 && len(key) <= 64
}
