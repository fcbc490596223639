package telemetry

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestWhatOthersCauseInQuantityLeavesSomeLinesAndTheirNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		log := Sampled(zap.New(core))
		for i := range 5_700 {
			log.Info("webhook refused", zap.String(KeyRequestID, fmt.Sprint(i)))
			if i%3 == 0 {
				log.Warn("health check failed")
			}
		}
		log.Info("edge listens")
		require.Len(t, logs.FilterMessage("webhook refused").All(), 10)
		require.Len(t, logs.FilterMessage("health check failed").All(), 10)
		require.Len(t, logs.FilterMessage("edge listens").All(), 1)
		<-time.After(11 * time.Second)
		left := logs.FilterMessage("log lines left out").All()
		require.Len(t, left, 1)
		require.Equal(t, map[string]int{"webhook refused": 5_690, "health check failed": 1_890}, left[0].ContextMap()["lines"])

		log.Info("webhook refused")
		<-time.After(time.Minute)
		require.Len(t, logs.FilterMessage("webhook refused").All(), 11, "another window")
		require.Len(t, logs.FilterMessage("log lines left out").All(), 1, "nothing was")
	})
}
