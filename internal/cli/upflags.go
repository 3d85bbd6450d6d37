package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
)

// upFlags are the flags of `graychain up`, as given.
type upFlags struct {
	infra       string
	gray        string
	tag         string
	once        bool
	detach      bool
	bin         string
	port        int
	rpcPort     int
	nacosPort   int
	namesrvPort int
	brokerPort  int
	jobInterval string
	detached    bool // hidden: this is the process that --detach started
}

// upPlan is what the flags come to.
type upPlan struct {
	options suite.Options
	lane    suite.Lane // of the tag; without services it has no instances
	once    bool
	detach  bool
	// detached: nobody waits for this process, and it ends when it is told to.
	detached bool
}

func (f *upFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.infra, "infra", "", "where Nacos and RocketMQ come from: local (the real servers as local Java processes; needs JDK 17 and Maven)")
	fs.StringVar(&f.gray, "gray", "a,c", "services that get a gray instance: some of a,b,c, or none")
	fs.StringVar(&f.tag, "tag", "gray", "tag of the gray lane")
	fs.BoolVar(&f.once, "once", false, "end after both loops are drawn, with exit code 0 if both are closed, else 1")
	fs.BoolVar(&f.detach, "detach", false, "return when all runs, and leave it running: see status and down")
	fs.StringVar(&f.bin, "bin", "", "folder with the built services (default: they are built with the go command)")
	fs.IntVar(&f.port, "port", 0, "HTTP port of the gateway; a, b and c have the next three; taken ones are an error then (default 20000, moved where taken)")
	fs.IntVar(&f.rpcPort, "rpc-port", 0, "RPC port of b; c has the one 1000 higher; taken ones are an error then (default 12080, moved where taken)")
	fs.IntVar(&f.nacosPort, "nacos-port", 0, "port of Nacos, which also takes those 1000 and 1001 higher and 1000 lower (default 8848, moved where taken)")
	fs.IntVar(&f.namesrvPort, "namesrv-port", 0, "port of RocketMQ's name server (default 9876, moved where taken)")
	fs.IntVar(&f.brokerPort, "broker-port", 0, "port of RocketMQ's broker, which also takes the one above and the one 2 below (default 10911, moved where taken)")
	fs.StringVar(&f.jobInterval, "job-interval", "", "let C send a message without any request this often, e.g. 5s (default: never)")
	fs.BoolVar(&f.detached, "detached", false, "")
	_ = fs.MarkHidden("detached") // fails for an unknown flag alone
}

// plan checks the flags; an error names the flag, its value and what it may be.
func (f *upFlags) plan(state string) (upPlan, error) {
	p := upPlan{once: f.once, detach: f.detach, detached: f.detached}
	switch f.infra {
	case "local":
	case "":
		return p, usage("up needs --infra=local: it starts the real Nacos and RocketMQ as local Java processes; the embedded servers, which need no flag, are not there yet")
	default:
		return p, usage("--infra=%q: want local", f.infra)
	}
	if f.once && f.detach {
		return p, usage("--once and --detach exclude each other: one ends, the other stays")
	}
	tag, err := graylib.ParseTag(f.tag)
	if err != nil {
		return p, usage("--tag: %w", err)
	}
	if tag == graylib.Untagged {
		return p, usage(`--tag="": want a tag, such as gray`)
	}
	services, err := parseGray(f.gray)
	if err != nil {
		return p, err
	}
	p.lane = suite.Lane{Tag: tag, Services: services}
	ports, fixed, err := f.ports()
	if err != nil {
		return p, err
	}
	server := func(n int) localinfra.Port { return localinfra.Port{Number: n, Fixed: n != 0} }
	p.options = suite.Options{
		State: state, Bin: f.bin, Ports: ports, FixedPorts: fixed,
		Infra: suite.LocalInfra{Options: localinfra.Options{
			Nacos: server(f.nacosPort), Namesrv: server(f.namesrvPort), Broker: server(f.brokerPort),
		}},
	}
	if f.jobInterval != "" {
		p.options.ServiceEnv = map[string]map[string]string{"c": {"C_JOB_INTERVAL": f.jobInterval}}
	}
	return p, nil
}

func (f *upFlags) ports() (suite.Ports, bool, error) {
	ports := suite.DefaultPorts
	fixed := false
	if f.port != 0 {
		fixed = true
		ports.Gateway, ports.A, ports.B, ports.C = f.port, f.port+1, f.port+2, f.port+3
	}
	if f.rpcPort != 0 {
		fixed = true
		ports.BRPC, ports.CRPC = f.rpcPort, f.rpcPort+1000
	}
	if err := ports.Valid(); err != nil {
		return ports, fixed, usage("--port=%d, --rpc-port=%d: %w", f.port, f.rpcPort, err)
	}
	return ports, fixed, nil
}

// parseGray reads the list of services of a lane, in the chain's order.
func parseGray(list string) ([]string, error) {
	want := "want some of " + strings.Join(suite.Laned, ",") + ", or none"
	if strings.TrimSpace(list) == "" {
		return nil, usage("--gray=%q: %s", list, want)
	}
	if list == "none" {
		return nil, nil
	}
	var out []string
	for s := range strings.SplitSeq(list, ",") {
		s = strings.TrimSpace(s)
		switch {
		case !slices.Contains(suite.Laned, s):
			return nil, usage("--gray=%q: %q is none of the services of a lane: %s", list, s, want)
		case slices.Contains(out, s):
			return nil, usage("--gray=%q: %q is named twice: %s", list, s, want)
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out, nil
}

// describe says what the plan starts.
func (p upPlan) describe() string {
	lane := "no instance in lane " + string(p.lane.Tag)
	if len(p.lane.Services) > 0 {
		up := make([]string, len(p.lane.Services))
		for i, s := range p.lane.Services {
			up[i] = strings.ToUpper(s)
		}
		lane = fmt.Sprintf("lane %s with %s", p.lane.Tag, strings.Join(up, ", "))
	}
	return "baseline with gateway, A, B, C; " + lane
}
