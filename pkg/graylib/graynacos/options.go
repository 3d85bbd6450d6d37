package graynacos

import (
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Option sets one thing of [Open], [Dial] and what they make.
type Option func(*options)

type options struct {
	grpcOffset  int
	timeout     time.Duration
	startWait   time.Duration
	state       string
	group       string
	rulesDataID string
	rulesGroup  string
	onState     func(component, why string)
	holdback    time.Duration
	redoAfter   time.Duration
}

func newOptions(opts []Option) options {
	o := options{
		grpcOffset:  1000,
		timeout:     3 * time.Second,
		startWait:   2 * time.Second,
		group:       "DEFAULT_GROUP",
		rulesDataID: graylib.RulesDataID,
		rulesGroup:  graylib.RulesGroup,
		holdback:    30 * time.Second,
		redoAfter:   time.Second,
	}
	for _, set := range opts {
		set(&o)
	}
	return o
}

// WithGRPCPortOffset sets what is added to a server's port to get its gRPC port. The default is Nacos's own, 1000.
func WithGRPCPortOffset(n int) Option { return func(o *options) { o.grpcOffset = n } }

// WithTimeout sets how long one request to Nacos may take. The default is 3 s; the client tries a failed request up to
// three times within it.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithStartWait sets how long [Open] waits for a first answer about the rules before it goes on without. The default is
// 2 s.
func WithStartWait(d time.Duration) Option { return func(o *options) { o.startWait = d } }

// WithStateDir sets the folder for the last good rules document, in place of the configuration's. The default of both is
// graychain in the user's cache folder ([os.UserCacheDir]).
func WithStateDir(dir string) Option { return func(o *options) { o.state = dir } }

// WithGroup sets the registry group of all services. The default is DEFAULT_GROUP.
func WithGroup(group string) Option { return func(o *options) { o.group = group } }

// WithRulesDocument sets where the rules document is. The default is [graylib.RulesDataID] in [graylib.RulesGroup].
func WithRulesDocument(dataID, group string) Option {
	return func(o *options) { o.rulesDataID, o.rulesGroup = dataID, group }
}

// WithOnState sets who is told about the state of a component, say "registration b.rpc": why it isn't ready, or "" when
// it is. See also [Registry.OnState].
func WithOnState(fn func(component, why string)) Option { return func(o *options) { o.onState = fn } }

// WithHoldback sets for how long after a reconnect an instance that is missing from the registry's list, and not seen in
// one since, stays in the table while it accepts connections. The default is 30 s: a server that was restarted
// learns of the instances one by one, as they find it. Zero turns this off.
func WithHoldback(d time.Duration) Option { return func(o *options) { o.holdback = d } }
