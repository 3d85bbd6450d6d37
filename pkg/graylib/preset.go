package graylib

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The names of presets: other systems whose keys are read and written beside ours, so that their services and ours share
// lanes. None is on by default.
const (
	// PresetMSE is Alibaba MSE (and Higress): header x-mse-tag, where base means untagged; message property
	// __microservice_tag__ with the value [{"name":"<tag>"}].
	PresetMSE = "mse"
	// PresetPolaris is Polaris and Spring Cloud Tencent: header service-lane, and the form in which Spring Cloud Tencent
	// transmits it, X-Polaris-Metadata-Transitive-service-lane, which is the message property too. The value is
	// <lane group>/<rule>: the group is the preset's argument, and the rule is to be named as the tag. A value without a
	// group is read as a tag; one of another group is none of ours and is left alone.
	PresetPolaris = "polaris"
	// PresetSermant is Sermant, whose keys are configured there: the argument is the key that its tag transmission is told to
	// hand on (tag.transmission.config, matchRule.exact) and its message plugin to look at (trafficTag). It is the header and
	// the message property, and its value is the tag.
	PresetSermant = "sermant"
	// PresetJoyLive is joylive-agent with live propagation: header and message property x-lane-code, which is the tag, and
	// x-lane-space-id, which is the preset's argument. What bears another space is none of ours and is left alone.
	PresetJoyLive = "joylive"
)

// preset is one that is switched on.
type preset struct {
	name string
	keys [boundaries][]presetKey
}

// presetKey is one key of a preset. Exactly one of fixed and write is set.
type presetKey struct {
	name  string
	fixed string              // this value and no other: the key says whose the tag is
	read  func(string) string // the tag that a value says, or foreign; "" = untagged
	write func(Tag) string
}

// foreign is what a presetKey reads of a value that isn't ours. It is no tag.
const foreign = "\x00"

// parsePresets reads "name[=argument][,name[=argument]…]".
func parsePresets(s string) ([]preset, error) {
	var all []preset
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, argument, _ := strings.Cut(item, "=")
		p, problem := newPreset(name, argument)
		if problem == "" && slices.ContainsFunc(all, func(q preset) bool { return q.name == name }) {
			problem = "stands there twice"
		}
		if problem != "" {
			return nil, invalid(EnvPresets, s, fmt.Sprintf("%q: %s", item, problem))
		}
		all = append(all, p)
	}
	return all, nil
}

func newPreset(name, argument string) (p preset, problem string) {
	p.name = name
	plain := func(key string) presetKey {
		return presetKey{name: key, read: func(v string) string { return v }, write: func(t Tag) string { return string(t) }}
	}
	switch name {
	case PresetMSE:
		if argument != "" {
			return p, "takes no argument"
		}
		p.keys[boundaryHTTP] = []presetKey{{name: "x-mse-tag", read: readMSE, write: func(t Tag) string { return string(t) }}}
		p.keys[boundaryMessage] = []presetKey{{name: "__microservice_tag__", read: readMSEList, write: writeMSEList}}
	case PresetPolaris:
		if argument == "" || !printableToken(argument) {
			return p, "want polaris=<lane group>, visible ASCII without / and ,"
		}
		lane := func(key string) presetKey {
			return presetKey{
				name: key, read: func(v string) string { return readPolaris(argument, v) },
				write: func(t Tag) string { return argument + "/" + string(t) },
			}
		}
		const transitive = "x-polaris-metadata-transitive-service-lane"
		p.keys[boundaryHTTP] = []presetKey{lane("service-lane"), lane(transitive)}
		p.keys[boundaryMessage] = []presetKey{lane("X-Polaris-Metadata-Transitive-service-lane")}
	case PresetSermant:
		if argument == "" || !headerToken(argument) || taken(argument) {
			return p, "want sermant=<key>, the header that Sermant hands on: letters, digits, - and _, and no name of another use"
		}
		p.keys[boundaryHTTP] = []presetKey{plain(strings.ToLower(argument))}
		p.keys[boundaryMessage] = []presetKey{plain(argument)}
	case PresetJoyLive:
		if argument == "" || !printableToken(argument) {
			return p, "want joylive=<lane space id>, visible ASCII without / and ,"
		}
		keys := []presetKey{{name: "x-lane-space-id", fixed: argument}, plain("x-lane-code")}
		p.keys[boundaryHTTP], p.keys[boundaryMessage] = keys, keys
	default:
		return p, "want mse, polaris=<lane group>, sermant=<key> or joylive=<lane space id>"
	}
	return p, ""
}

// taken tells whether a header has another use, so that writing a tag into it would break requests.
func taken(name string) bool {
	name = strings.ToLower(name)
	return Stripped(name) || slices.Contains([]string{
		baggageHeader, "host", "cookie", "authorization", "connection", "content-length", "content-type", "transfer-encoding",
		"accept", "user-agent", "x-forwarded-for", "te", "trailer", "upgrade", "date", "expect",
	}, name)
}

// printableToken tells whether s is visible ASCII without the separators of our own settings and of Polaris' values.
func printableToken(s string) bool {
	return len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == ',' })
}

func headerToken(s string) bool {
	return len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// readMSE: base is what MSE calls the instances and requests without a tag.
func readMSE(v string) string {
	if v == "base" {
		return ""
	}
	return v
}

// maxMSEList bounds what is parsed of a message property that another system wrote.
const maxMSEList = 1024

// readMSEList reads [{"name":"<tag>", …}, …]: the first one counts.
func readMSEList(v string) string {
	if len(v) > maxMSEList {
		return foreign
	}
	var list []struct {
		Name string `json:"name"`
	}
	if json.Unmarshal([]byte(v), &list) != nil || len(list) == 0 {
		return foreign
	}
	return readMSE(list[0].Name)
}

func writeMSEList(t Tag) string { return `[{"name":"` + string(t) + `"}]` }

// readPolaris reads <lane group>/<rule>, or a lane alone.
func readPolaris(group, v string) string {
	g, rule, ok := strings.Cut(v, "/")
	switch {
	case !ok:
		return v
	case g != group:
		return foreign
	}
	return rule
}

// read returns the tag that a carrier says by this preset's keys, and whether it says anything of ours.
func (p *preset) read(b boundary, c Carrier) (value string, found bool) {
	for i := range p.keys[b] {
		k := &p.keys[b][i]
		v := c.Get(k.name)
		switch {
		case v == "":
		case k.write == nil:
			if v != k.fixed {
				return "", false
			}
		case !found:
			if tag := k.read(v); tag != foreign {
				value, found = tag, true
			}
		}
	}
	return value, found
}

// write makes a carrier's keys of this preset say what the tag says. What is none of ours stays where there is no tag.
func (p *preset) write(b boundary, c Carrier, tag Tag) {
	if tag == Untagged {
		if _, ours := p.read(b, c); !ours {
			return
		}
	}
	for i := range p.keys[b] {
		k := &p.keys[b][i]
		switch {
		case tag == Untagged && k.write != nil && k.read(c.Get(k.name)) == foreign: // of another group
		case tag == Untagged:
			c.Set(k.name, "")
		case k.write == nil:
			c.Set(k.name, k.fixed)
		default:
			c.Set(k.name, k.write(tag))
		}
	}
}
