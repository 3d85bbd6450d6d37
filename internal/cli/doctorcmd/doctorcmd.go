// Package doctorcmd is `graychain doctor`: whether all that lanes need is there, and what to do where it isn't.
package doctorcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/internal/fleet"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/lanestate"
)

// within bounds all checks together.
const within = 2 * time.Minute

// New returns the command `doctor`. Where a check failed it returns [target.ErrReported].
func New(deps target.Deps) *cobra.Command {
	var (
		d      doctor
		output string
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check all that lanes need: Nacos, rules, instances, brokers, topics, groups, clocks; say what to do",
		Long: `Checks Nacos and the rules; each live instance (by GET ` + graylib.StatusPath + `): whether it is on the published revision, ready, and has
message grayscale on like the others; the brokers: reachable, filtering by property, clocks; topics and consumer groups, and
who is a member of them. Each failure comes with what to do.

Topics and groups are those that live instances consume; before the first start name them with --group and --topic. --create
creates those that are missing. It ends with 1 where something failed.`,
		Example: "  graychain doctor\n  graychain doctor --group test-a --topic TEST_MQ --create",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case output != "text" && output != "json":
				return deps.Usage(fmt.Errorf("--output is %q; want text or json", output))
			case len(d.topics) > 0 && d.group == "":
				return deps.Usage(fmt.Errorf("--topic needs --group: topics are consumed by a group"))
			case d.queues < 1:
				return deps.Usage(fmt.Errorf("--queues is %d; want 1 or more", d.queues))
			}
			nacosAddr, namesrv, err := deps.Addresses(cmd)
			if err != nil {
				return err
			}
			reader, err := deps.Brokers(namesrv)
			if err != nil {
				return deps.Usage(err)
			}
			defer func() { _ = reader.Close() }()
			ctx, cancel := context.WithTimeout(cmd.Context(), within)
			defer cancel()
			d.report = &report{Nacos: nacosAddr, Namesrv: namesrv, Findings: []finding{}}
			d.reader = reader
			d.checkNacos(ctx, deps)
			d.checkBrokers(ctx)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			d.OK = d.count(failed) == 0
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				enc.SetEscapeHTML(false)
				err = enc.Encode(d.report)
			} else {
				err = d.write(cmd.OutOrStdout())
			}
			if err == nil && !d.OK {
				err = target.ErrReported
			}
			return err
		},
	}
	target.Flags(cmd)
	cmd.Flags().StringVar(&d.group, "group", "", "a consumer group, as the application names it, to check before an instance lives")
	cmd.Flags().StringArrayVar(&d.topics, "topic", nil, "a topic that the group consumes; may be given several times")
	cmd.Flags().BoolVar(&d.create, "create", false, "create the topics and groups that are missing")
	cmd.Flags().IntVar(&d.queues, "queues", 4, "queues of a topic that is created, per broker")
	cmd.Flags().StringVar(&output, "output", "text", "text or json")
	return deps.Args(cmd)
}

// doctor is one run.
type doctor struct {
	*report
	group  string
	topics []string
	create bool
	queues int

	reader    *lanestate.Reader
	rules     graylib.Rules // never nil once Nacos was looked at
	instances []fleet.Instance
}
