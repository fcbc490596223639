package config_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/config"
)

func TestAValueInQuotesIsABadValue(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-hunter2"
	key := "whsec_" + strings.Repeat("QUJD", 8)
	const takeOff = "begins or ends with a quotation mark, take the quotes off"
	for given, want := range map[string]string{
		`WEBHOOK_SECRET="` + key + `"`:                "WEBHOOK_SECRET=[redacted] is not accepted: it " + takeOff,
		`WEBHOOK_SECRET='` + secret + `'`:             takeOff,
		`WEBHOOK_SECRET=“` + secret + `”`:             takeOff,
		`WEBHOOK_SECRET="` + secret:                   takeOff,
		`WEBHOOK_SECRET=` + secret + `'`:              takeOff,
		`WEBHOOK_SECRET=` + secret + `,"` + key + `"`: takeOff,
		`WEBHOOK_SECRET="` + secret + `", ` + key:     takeOff,
		`WEBHOOK_SECRET="` + secret + "\"\r":          takeOff,
		`WEBHOOK_SECRET=\"` + secret + `\"`:           takeOff,
		`WEBHOOK_SECRET=""`:                           takeOff,
		`SERVER_BYPASS_TOKEN="` + secret + `"`:        "SERVER_BYPASS_TOKEN=[redacted] is not accepted: it " + takeOff,
		`SENTRY_ENVIRONMENT='staging'`:                `SENTRY_ENVIRONMENT="'staging'" is not accepted: it ` + takeOff,
		`STORE_DATA_PATH="/data"`:                     takeOff,
		`LOG_LEVEL="info"`:                            takeOff,
		`PORT="3003"`:                                 takeOff,
		`STORE_IDS=aaa,'bbb'`:                         takeOff,
		`STORE_ws-1_SYNC_URL="ws://one"`:              "STORE_ws-1_SYNC_URL=[redacted] is not accepted: it " + takeOff,
		`TEMPORAL_ADDRESS="temporal:7233"`:            "TEMPORAL_ADDRESS=[redacted] is not accepted: it " + takeOff,
		`OTEL_EXPORTER_OTLP_ENDPOINT="http://c:4318"`: "OTEL_EXPORTER_OTLP_ENDPOINT=[redacted] is not accepted: it " + takeOff,
		`TEMPORAL_API_KEY='` + secret + `'`:           takeOff,
		`TEMPORAL_TLS_CLIENT_KEY_DATA="-----BEGIN X`:  takeOff,
		"WEBHOOK_SECRET=" + secret + "\r":             "it holds the invisible character U+000D",
		"WEBHOOK_SECRET=\ufeff" + secret:              "it holds the invisible character U+FEFF",
		"WEBHOOK_SECRET=" + secret + "\u00a0":         "it holds the invisible character U+00A0",
		"WEBHOOK_SECRET=hun\u200bter2":                "it holds the invisible character U+200B",
		"SERVER_BYPASS_TOKEN=" + secret + " ":         "it begins or ends with white space",
		"SENTRY_ENVIRONMENT=staging\n":                "it holds the invisible character U+000A",
		"STORE_DATA_PATH= /data":                      "it begins or ends with white space",
		"TEMPORAL_NAMESPACE=default\r":                "it holds the invisible character U+000D",
		"export WEBHOOK_SECRET=" + secret:             `"export WEBHOOK_SECRET" is not accepted: the variable is to be named WEBHOOK_SECRET`,
		"\ufeffWEBHOOK_SECRET=" + secret:              `"\ufeffWEBHOOK_SECRET" is not accepted: the variable is to be named WEBHOOK_SECRET`,
		"LOG_LEVEL =debug":                            `"LOG_LEVEL " is not accepted: the variable is to be named LOG_LEVEL`,
	} {
		t.Run(given, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(append(complete, given), config.RoleStandalone)
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), secret)
			require.NotContains(t, err.Error(), key)
		})
	}
}

func TestWhatMayHoldQuotesAndLinesMay(t *testing.T) {
	t.Parallel()
	for _, given := range []string{
		`WEBHOOK_SECRET=it's"fine`, "WEBHOOK_SECRET=one, two", "STOREKEEPER_ACTOR=Ann O'Neill", "STORE_DATA_PATH=/my data/it's",
		"TEMPORAL_TLS_CLIENT_CERT_DATA=-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		`TEMPORAL_GRPC_META_ETAG="1"`, `OTEL_EXPORTER_OTLP_HEADERS=etag="1"`, `PS1="$ "`, `WEBHOOK_SECRETS="others'"`, "SENTRY_ENVIRONMENT=prüfung",
	} {
		_, err := config.Load(append(complete, given), config.RoleStandalone)
		require.NoError(t, err, given)
	}
}
