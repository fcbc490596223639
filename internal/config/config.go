// Package config holds every setting of Storekeeper. A process reads them once, at its start, from its environment;
// secrets can be in files, which are read again (see Config.Reload). A bad value stops the
// process with one line that names the variable, the value (never a secret's) and what is accepted. The SDK itself (contrib/envconfig)
// reads the settings of Temporal: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TLS, profiles.
// Those of traces (OTEL_*) are read by internal/tracing/export and by OpenTelemetry's libraries.
package config

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"storekeeper/internal/webhookauth"
)

// Config is every setting. The tags are the documentation; docs/settings.md is made from them.
type Config struct {
	WebhookSecrets Secrets   `env:"WEBHOOK_SECRET" roles:"webhook,standalone" accepts:"one secret, or several separated by commas while rotating, none of them empty or with white space; whsec_ with 24 to 64 bytes in base64 or whpk_ with 32 bytes in base64 is a key of signatures, KEY@NOT_BEFORE/NOT_AFTER one that is limited in time" doc:"What the Auth Worker's webhooks are known by: shared secrets, brought in X-Webhook-Secret, and keys of Standard Webhooks signatures. docs/webhooks.md says how to move from the one to the other."`
	BypassTokens   Secrets   `env:"SERVER_BYPASS_TOKEN" roles:"webhook,worker,storemanager,standalone" accepts:"a token without white space and commas, or several separated by commas while rotating: the first is sent, all are accepted" doc:"The token of the internal side: towards the Auth Worker, the store manager and the sync backends, and for everything at the edge that shows ids or acts."`
	Operators      Operators `env:"OPERATOR_TOKENS" accepts:"NAME:TOKEN, or NAME:TOKEN:read for who may only read; several separated by commas; a name has 1 to 64 letters, digits and ._@-, a token letters, digits and -._~+/=, and TOKEN|TOKEN are two of the same name while rotating; no name and no token comes twice, and none is one of SERVER_BYPASS_TOKEN" doc:"Who may ask the edge for what SERVER_BYPASS_TOKEN opens, each with a token of its own. The name is the actor of what the caller does, whatever the request says."`
	AuthWorkerURL  URL       `env:"AUTH_WORKER_INTERNAL_URL" roles:"worker,standalone" accepts:"an http or https URL without credentials, query and fragment" doc:"Where the Auth Worker answers GET /internal/workspaces. For cmd/webhook it is optional: with it GET /stores and starter list know names and owners."`

	ListenAddr         HostPort      `env:"LISTEN" accepts:"host:port" doc:"Where the edge listens. Empty means 127.0.0.1 and PORT."`
	Port               Port          `env:"PORT" envDefault:"3003" accepts:"0 to 65535 (0 picks one)" doc:"The edge's port, unless LISTEN says more."`
	StoreManagerListen HostPort      `env:"STORE_MANAGER_LISTEN" envDefault:"127.0.0.1:3005" accepts:"host:port" doc:"Where cmd/storemanager listens."`
	MetricsListen      HostPortOrOff `env:"METRICS_LISTEN" envDefault:"127.0.0.1:3006" accepts:"host:port, or off" doc:"Where cmd/worker serves /metrics, /livez and /readyz; off is nowhere. Each worker of a machine needs an address of its own."`

	TemporalDB PostgresURL `env:"TEMPORAL_DB" accepts:"a postgres or postgresql URL with the name of a database: postgres://user:password@host:5432/temporal?sslmode=verify-full" doc:"Where cmd/standalone keeps Temporal's data: in this PostgreSQL database and the one with the same name and _visibility. Empty: in a SQLite file under --data-dir. --temporal-db says the same, to everybody who can list processes."`

	TemporalAPIKey Secret `env:"TEMPORAL_API_KEY" accepts:"a key without white space" doc:"What Temporal Cloud, or a proxy before a Temporal, knows us by: a setting of the SDK's, which can be in a file and changed in it here. cmd/standalone and cmd/storemanager have no use for it."`

	StoreManagerURL  URL    `env:"STORE_MANAGER_URL" roles:"webhook,worker" accepts:"an http or https URL without credentials, query and fragment" doc:"Where the store manager answers. cmd/standalone has its own."`
	StoreManagerKind string `env:"STORE_MANAGER_KIND" envDefault:"storekeeper" accepts:"storekeeper or node" oneof:"storekeeper,node" doc:"Who monitors the stores: cmd/storemanager itself (and cmd/standalone), or an existing Node multi-store server that it drives."`
	NodeServerURL    URL    `env:"NODE_SERVER_URL" accepts:"an http or https URL without credentials, query and fragment" doc:"Where that Node server answers. Required with STORE_MANAGER_KIND=node. There AUTH_WORKER_INTERNAL_URL and AUTH_WORKER_URL must both be unset, or it reconciles by itself."`
	NodeServerSecret Secret `env:"NODE_SERVER_WEBHOOK_SECRET" accepts:"a secret without white space" doc:"What that Node server wants in X-Webhook-Secret. Required with STORE_MANAGER_KIND=node."`
	StoreDataPath    string `env:"STORE_DATA_PATH" envDefault:"./data" accepts:"a directory" doc:"Where the registry lies. cmd/standalone has --data-dir instead."`
	StoreIDs         IDs    `env:"STORE_IDS" accepts:"store ids (3 to 64 letters, digits, _ and -, the first a letter or digit) separated by commas" doc:"Stores that are always monitored: ensured at the store manager's start and pinned against every deletion; taking one out of the list releases it."`

	SyncURL         SyncURL  `env:"LIVESTORE_SYNC_URL" accepts:"a ws, wss, http or https URL without credentials and fragment" doc:"The sync backend that stores are monitored at. Empty: stores are registered and not monitored, unless they have a URL of their own. Not used with STORE_MANAGER_KIND=node, whose server has its own."`
	SyncURLs        SyncURLs `env:"STORE_<ID>_SYNC_URL" accepts:"a ws, wss, http or https URL without credentials and fragment" doc:"The sync backend of one store. <ID> is the store's id, as it is or in capitals with _ for -."`
	SyncMaxDials    Positive `env:"LIVESTORE_SYNC_MAX_DIALS" envDefault:"64" accepts:"a whole number, at least 1" doc:"How many connections to one sync backend are made at the same time."`
	EventSinkURL    URL      `env:"EVENT_SINK_URL" accepts:"an http or https URL without credentials, query and fragment" doc:"Where the events of all stores are posted, in batches, signed as Standard Webhooks are. Empty: they are only logged."`
	EventSinkSecret Secret   `env:"EVENT_SINK_SECRET" accepts:"whsec_ and 24 to 64 bytes in base64" doc:"What the batches are signed with. Required with EVENT_SINK_URL."`

	WebhookAuth         string        `env:"WEBHOOK_AUTH" envDefault:"any" accepts:"any, secret or signature" oneof:"any,secret,signature" doc:"What a webhook must bring: a shared secret, a signature, or either."`
	WebhookRateLimit    Count         `env:"WEBHOOK_RATE_LIMIT" envDefault:"1000" accepts:"a whole number, at least 0 (0: no limit)" doc:"How many webhooks a second one sender (a secret or a key of WEBHOOK_SECRET) may send; more are answered 429."`
	WebhookMaxBacklog   time.Duration `env:"WEBHOOK_MAX_BACKLOG_AGE" envDefault:"1m" min:"1s" accepts:"a duration such as 1m, at least 1s" doc:"While events wait longer for a worker, webhooks are answered 503."`
	WebhookWait         time.Duration `env:"WEBHOOK_WAIT" envDefault:"5s" min:"0s" accepts:"a duration such as 5s, at least 0s" doc:"How long a webhook waits for its outcome before it answers 202. A Temporal that is slow to take it is given some 15 s more."`
	DeletionGracePeriod time.Duration `env:"DELETION_GRACE_PERIOD" envDefault:"24h" min:"0s" accepts:"a duration such as 24h, at least 0s (0s deletes at once)" doc:"How long a deleted workspace's store is kept. The worker's value counts."`

	AuditRetention    time.Duration `env:"AUDIT_RETENTION" envDefault:"9600h" min:"24h" accepts:"a duration such as 9600h, at least 24h" doc:"How long the store manager keeps an entry of the audit trail, 400 days by default. An entry is some 0.5 KB."`
	TemporalRetention time.Duration `env:"TEMPORAL_RETENTION" envDefault:"72h" min:"1m" max:"8760h" accepts:"a duration such as 72h, from 1m to 8760h (a year)" doc:"How long the embedded Temporal of cmd/standalone keeps a workflow after its end, for the Web UI: over a weekend by default. An event is some 7 KB there. Workflows that have ended keep what they had then."`

	ReconcileEnabled     bool          `env:"WORKSPACE_RECONCILE_ENABLED" envDefault:"true" accepts:"true or false" doc:"false pauses the schedule and refuses POST /admin/reconcile."`
	ReconcileInterval    Milliseconds  `env:"WORKSPACE_RECONCILE_INTERVAL_MS" envDefault:"300000" min:"1s" accepts:"whole milliseconds, at least 1000" doc:"How often the authoritative list is compared with what is monitored."`
	ManualReconcileLimit Milliseconds  `env:"MANUAL_RECONCILE_MIN_INTERVAL_MS" envDefault:"60000" min:"0s" accepts:"whole milliseconds, at least 0 (0: no limit)" doc:"How soon after a successful manual run POST /admin/reconcile is taken again."`
	ReconcileMode        string        `env:"RECONCILE_MODE" envDefault:"full" accepts:"full, create-only or observe" oneof:"full,create-only,observe" doc:"What reconciliation may do: add and remove, add, or only count. The worker's value counts."`
	ReconcileMaxRate     Count         `env:"RECONCILE_MAX_RATE" envDefault:"500" accepts:"a whole number, at least 0 (0: no limit)" doc:"How many missing stores a second reconciliation adds at the most."`
	AuthListMaxAge       time.Duration `env:"AUTH_LIST_MAX_AGE" envDefault:"20s" min:"1s" accepts:"a duration such as 20s, at least 1s" doc:"How often at the most the Auth Worker is asked for its list because grace periods have ended: those that end meanwhile share the next one."`
	MaxDeletePercent     Percent       `env:"RECONCILE_MAX_DELETE_PERCENT" envDefault:"10" accepts:"0 to 100" doc:"Removals wait for approval when lists have removed, or lack, this part of at least 10 monitored stores within a day, or more; 100 is no limit."`
	MaxDeletes           Count         `env:"RECONCILE_MAX_DELETES" envDefault:"50" accepts:"a whole number, at least 0" doc:"Removals wait for approval when lists have removed, or lack, more stores within a day."`

	SentryDSN         Secret `env:"SENTRY_DSN" accepts:"a DSN" doc:"Where failures are reported. Empty means nowhere."`
	SentryEnvironment string `env:"SENTRY_ENVIRONMENT" envDefault:"production" accepts:"a name" doc:"The environment that Sentry shows."`
	IncidentDashboard Link   `env:"ORCHESTRATION_INCIDENT_DASHBOARD_URL" accepts:"an http or https URL" doc:"A link for operators, given in the answers of POST /admin/reconcile."`
	LogLevel          string `env:"LOG_LEVEL" envDefault:"info" accepts:"debug, info, warn or error" oneof:"debug,info,warn,error" doc:"What is logged."`
	LogFormat         string `env:"LOG_FORMAT" envDefault:"auto" accepts:"json, console or auto (console on a terminal)" oneof:"json,console,auto" doc:"How it is logged."`

	StorekeeperURL   URL    `env:"STOREKEEPER_URL" envDefault:"http://127.0.0.1:3003" accepts:"an http or https URL without credentials, query and fragment" doc:"Where cmd/starter reads stores: the edge."`
	StorekeeperToken Secret `env:"STOREKEEPER_TOKEN" accepts:"a token without white space" doc:"What cmd/starter shows the edge: a token of OPERATOR_TOKENS, whose name is then the actor. Empty: the first of SERVER_BYPASS_TOKEN."`
	Actor            string `env:"STOREKEEPER_ACTOR" accepts:"a name" doc:"Who holds, cancels, pauses and acknowledges with cmd/starter, unless --actor says. Empty: the name of the user who runs it (USER, LOGNAME, /etc/passwd), else the id."`

	live *live // nil: no secret is in a file
}

// Role is a kind of process. Each requires some of the settings.
type Role string

// The roles.
const (
	RoleWebhook      Role = "webhook"
	RoleWorker       Role = "worker"
	RoleStoreManager Role = "storemanager"
	RoleStandalone   Role = "standalone"
	// RoleStarter requires nothing: most commands only talk to Temporal.
	RoleStarter Role = "starter"
)

// Listen is where the edge listens.
func (c *Config) Listen() string {
	if c.ListenAddr != "" {
		return string(c.ListenAddr)
	}
	return fmt.Sprintf("127.0.0.1:%d", c.Port)
}

// Keyring returns what webhooks are authenticated by now. After Load it can't fail for a role that requires WEBHOOK_SECRET. The error names the
// variable and never quotes any part of a secret.
func (c *Config) Keyring() (*webhookauth.Keyring, error) {
	c = c.Newest()
	entries := make([]string, len(c.WebhookSecrets))
	for i, s := range c.WebhookSecrets {
		entries[i] = string(s)
	}
	keyring, err := webhookauth.Parse(entries)
	if err != nil {
		return nil, fmt.Errorf("WEBHOOK_SECRET is not accepted: %w", err)
	}
	if keyring, err = keyring.ForMode(webhookauth.Mode(cmp.Or(c.WebhookAuth, string(webhookauth.ModeAny)))); err != nil {
		return nil, fmt.Errorf("WEBHOOK_AUTH does not go with WEBHOOK_SECRET: %w", err)
	}
	return keyring, nil
}

// BypassToken is the token that is sent now: the first of the newest BypassTokens; "" if there is none.
func (c *Config) BypassToken() string {
	c = c.Newest()
	if len(c.BypassTokens) == 0 {
		return ""
	}
	return string(c.BypassTokens[0])
}

// Secrets returns all values that must never be shown, for the redaction of logs and of Sentry.
func (c *Config) Secrets() []string {
	all := append(c.TemporalDB.secrets(), string(c.SentryDSN), string(c.NodeServerSecret), string(c.EventSinkSecret),
		string(c.TemporalAPIKey), string(c.StorekeeperToken))
	for _, s := range c.BypassTokens {
		all = append(all, string(s))
	}
	for _, o := range c.Operators {
		for _, s := range o.Tokens {
			all = append(all, string(s))
		}
	}
	for _, s := range c.WebhookSecrets {
		all = append(all, string(s))
		if key, _, ok := strings.Cut(string(s), "@"); ok && strings.HasPrefix(key, "whsec_") {
			all = append(all, key) // the key without its window of validity
		}
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// Secret is a value that prints as "[redacted]", however it is printed.
type Secret string

const redacted = "[redacted]"

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secret) UnmarshalText(text []byte) error {
	if strings.ContainsAny(string(text), " \t\r\n") {
		return fmt.Errorf("it contains white space")
	}
	*s = Secret(text)
	return nil
}

// Secrets are several secrets that are valid at the same time.
type Secrets []Secret

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secrets) UnmarshalText(text []byte) error {
	*s = nil
	for part := range strings.SplitSeq(string(text), ",") {
		var one Secret
		if err := one.UnmarshalText([]byte(strings.TrimSpace(part))); err != nil {
			return err
		}
		if one == "" {
			return fmt.Errorf("one of the secrets is empty")
		}
		*s = append(*s, one)
	}
	return nil
}

// IDs are store ids. Spaces around them and empty entries are ignored.
type IDs []string

var idPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,63}$`)

// UnmarshalText implements encoding.TextUnmarshaler.
func (ids *IDs) UnmarshalText(text []byte) error {
	*ids = nil
	for part := range strings.SplitSeq(string(text), ",") {
		id := strings.TrimSpace(part)
		switch {
		case id == "":
			continue // a trailing comma
		case !idPattern.MatchString(id):
			return fmt.Errorf("%.80q can be no store id (3 to 64 letters, digits, _ and -, the first a letter or digit)", id)
		}
		*ids = append(*ids, id)
	}
	return nil
}

// Link is an http or https URL that people open.
type Link string

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Link) UnmarshalText(text []byte) error {
	parsed, err := url.Parse(string(text))
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" {
		return fmt.Errorf("it is no http or https URL")
	}
	*l = Link(text)
	return nil
}

// URL is the base of an API: an http or https URL without a trailing slash, credentials, query and fragment.
type URL string

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *URL) UnmarshalText(text []byte) error {
	parsed, err := url.Parse(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("it can't be parsed")
	case parsed.Scheme != "http" && parsed.Scheme != "https", parsed.Host == "":
		return fmt.Errorf("it is no http or https URL")
	case parsed.User != nil, parsed.RawQuery != "", parsed.Fragment != "":
		return fmt.Errorf("it holds credentials, a query or a fragment")
	}
	*u = URL(strings.TrimRight(string(text), "/"))
	return nil
}
