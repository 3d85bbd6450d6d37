package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// checks are what a start asks the brokers before it changes anything there: whether they take the groups' filters, which groups
// they have, and which offsets; and who is in <group> beside us. No answer depends on another, so all is asked at once. What is wrong is told in that order,
// whichever answer came first.
type checks struct {
	at      map[string]string         // the brokers: name -> the master's address
	retries map[string]remoting.Route // by topic: the groups' retry topics, as far as they are known
	brokers []string                  // names, in order
	groups  []string

	filters []error            // one for each filter that a broker compiles
	lacks   [][]error          // by broker and group: why the group isn't there
	gone    error              // why a broker could not be reached; then nothing else counts
	unset   map[beginning]bool // where a queue has no offset, or it isn't known whether it has

	strangers []string // members of <group> without graylib, or with another version of it: <client id> at <address>, sorted
}

// beginning is where a group begins to consume: one topic.
type beginning struct{ group, topic string }

// check asks. The places join have their filters checked, and all of them are groups that must exist. Where offsets isn't nil theirs are asked for,
// too.
func (c *Consumer) check(ctx context.Context, join, all []place, subs []*subscription, routes, retries map[string]remoting.Route, offsets *firstOffsets) *checks {
	k := &checks{at: brokersOf(routes), retries: retries, unset: make(map[beginning]bool)}
	k.brokers = slices.Sorted(maps.Keys(k.at))
	for _, p := range all {
		k.groups = append(k.groups, p.group)
	}
	var asks []func() error
	filters := 0
	for _, p := range join {
		for _, s := range subs {
			sel := s.selector(p.kind, p.lane.Tag, c.filter(s.topic))
			if sel.Type != consumer.SQL92 {
				continue
			}
			for _, broker := range k.brokers {
				filters++
				asks = append(asks, func() error { return c.checkFilter(ctx, broker, k.at[broker], p.group, s.topic, sel.Expression) })
			}
		}
	}
	for _, broker := range k.brokers {
		for _, group := range k.groups {
			asks = append(asks, func() error {
				_, err := c.api.Group(ctx, k.at[broker], group)
				return err
			})
		}
	}
	var starts []beginning
	if offsets != nil {
		for _, p := range all {
			for _, s := range subs {
				for _, q := range routes[s.topic].Queues {
					starts = append(starts, beginning{p.group, s.topic})
					asks = append(asks, func() error {
						stored, err := offsets.stored(ctx, p.group, q, routes[s.topic])
						if err == nil && !stored {
							err = errNoOffset
						}
						return err
					})
				}
			}
		}
	}
	base := slices.IndexFunc(join, func(p place) bool { return p.kind == kindBase })
	others := make([][]string, len(k.brokers))
	for i, broker := range k.brokers {
		if base < 0 {
			break
		}
		asks = append(asks, func() (err error) {
			others[i], err = c.strangers(ctx, k.at[broker], join[base].group)
			return err
		})
	}
	errs := atOnce(len(asks), func(i int) error { return asks[i]() })
	if i := slices.IndexFunc(errs, func(err error) bool { return errors.Is(err, remoting.ErrUnreachable) }); i >= 0 {
		k.gone = errs[i]
	}
	k.filters, errs = errs[:filters], errs[filters:]
	for range k.brokers {
		k.lacks, errs = append(k.lacks, errs[:len(k.groups)]), errs[len(k.groups):]
	}
	for i, err := range errs[:len(starts)] { // who else is there is not needed to go on
		if err != nil {
			k.unset[starts[i]] = true // what is wrong shows when it is set
		}
	}
	k.strangers = slices.Concat(others...)
	slices.Sort(k.strangers)
	k.strangers = slices.Compact(k.strangers)
	return k
}

// strangers returns a group's members at one broker that aren't graylib's of this version.
func (c *Consumer) strangers(ctx context.Context, broker, group string) ([]string, error) {
	there, err := c.api.Connections(ctx, broker, group)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, m := range there.Members {
		if _, err := ownership.ParseMember(m.ClientID); err != nil {
			list = append(list, m.ClientID+" at "+m.Addr)
		}
	}
	return list, nil
}

// errNoOffset says that a queue has no offset of a group's.
var errNoOffset = errors.New("no offset is stored")

// checkFilter asks a broker whether it takes a group's filter.
func (c *Consumer) checkFilter(ctx context.Context, broker, addr, group, topic, expression string) error {
	err := c.api.CheckSQL(ctx, addr, group, topic, expression)
	if errors.Is(err, ErrNoPropertyFilter) {
		return fmt.Errorf("broker %q at %s: set enablePropertyFilter=true in its configuration, or filter: client for consumer %q in the rules: %w",
			broker, addr, c.rt.Identity().Service, err)
	}
	return err
}
