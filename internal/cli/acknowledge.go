package cli

import (
	"errors"
	"net/http"

	"github.com/spf13/cobra"

	"storekeeper/internal/storemanager"
)

func (a *app) acknowledgeCommand() *cobra.Command {
	var body storemanager.Acknowledgement
	cmd := &cobra.Command{
		Use:   "acknowledge",
		Short: "Let stores be stopped again after the registry was lost",
		Long: `Let stores be stopped again after the registry was lost.

The registry (stores.db) was found to be new, older or another one than it should be: health says what was found. Its stores are
monitored again by a reconcile run, but holds, pauses and pending deletions may be gone. Until you say that this is known no store is
stopped, whoever asks. Put the holds back first. Without a loss nothing is done.`,
		Example: `  starter acknowledge --reason "the disk was replaced, holds are put back"`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.trimReason(&body.Reason, &body.Actor); err != nil {
				return err
			}
			e, err := a.edge()
			if err != nil {
				return err
			}
			const path = "/admin/acknowledge-loss"
			err = e.do(cmd.Context(), http.MethodPost, path, body, nil)
			switch {
			case errors.Is(err, errNotFound):
				return e.unreachable("has no " + path)
			case err != nil:
				return err
			case a.json:
				a.writeJSON(map[string]string{"status": "acknowledged"})
			default:
				a.printf("acknowledged, whatever was lost: stores may be stopped\n")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&body.Reason, "reason", "", "why that is right, for the record (required)")
	cmd.Flags().StringVar(&body.Actor, "actor", "", actorUsage)
	_ = cmd.MarkFlagRequired("reason") // the flag is there
	return cmd
}
