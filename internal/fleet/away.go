package fleet

import (
	"maps"
	"slices"
	"strings"
)

// AwayBroker is a broker that instances know of and the name server doesn't: it has ended, or has lost its way there. What it
// holds can't be known.
type AwayBroker struct {
	Name      string
	Instances []string // "<service> <address>" of those that name it, sorted
}

// String says it in words, with what can be done.
func (a AwayBroker) String() string {
	return "broker " + a.Name + " isn't registered at the name server, and " + strings.Join(a.Instances, ", ") +
		" had queues of it: what it holds can't be known. Start it again; where it is gone for good, restart those instances"
}

// Away lists the brokers that instances have lost and that aren't among the registered ones, by name.
func Away(instances []Instance, registered map[string]string) []AwayBroker {
	by := make(map[string][]string)
	for _, in := range instances {
		if in.Status == nil {
			continue
		}
		for _, c := range in.Status.Consumers {
			for _, g := range c.Groups {
				for _, name := range g.Away {
					if _, there := registered[name]; !there {
						by[name] = append(by[name], in.Service+" "+in.Addr)
					}
				}
			}
		}
	}
	var list []AwayBroker
	for _, name := range slices.Sorted(maps.Keys(by)) {
		slices.Sort(by[name])
		list = append(list, AwayBroker{Name: name, Instances: slices.Compact(by[name])})
	}
	return list
}
