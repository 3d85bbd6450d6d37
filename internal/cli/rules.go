package cli

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/cli/rulescmd"
	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graynacos"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// newRules is the command `rules`, on the Nacos that its flag, the environment or the running suite names.
func newRules() *cobra.Command {
	return rulescmd.New(rulescmd.Deps{
		Open: func(ctx context.Context, addr string) (rules.Store, func() error, error) {
			config, err := graylib.ConfigFrom(nil) // namespace and user
			if err != nil {
				return nil, nil, err
			}
			config.NacosAddr = addr
			client, err := graynacos.Dial(ctx, config, slog.New(slog.DiscardHandler))
			if err != nil {
				return nil, nil, err
			}
			return client, client.Close, nil
		},
		SuiteNacos: func(cmd *cobra.Command) string {
			state, err := stateDir(cmd)
			if err != nil {
				return ""
			}
			info, err := suite.Find(state)
			if err != nil {
				return ""
			}
			return info.Nacos
		},
		Usage: func(err error) error { return usageError{err} },
	})
}
