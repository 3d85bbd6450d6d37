package graynacos

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/graychain/graychain/pkg/graylib/rules"
)

// Paths of a document's history; the list has no contents, so that each is asked for.
const (
	historyList3 = "/nacos/v3/admin/cs/history/list"
	historyItem3 = "/nacos/v3/admin/cs/history"
	historyList2 = "/nacos/v2/cs/history/list"
	historyItem2 = "/nacos/v2/cs/history"
)

// maxHistory is how many changes are looked at, and the most that a page of the API can have.
const maxHistory = 500

var _ rules.Historian = (*Client)(nil)

// change is a row of Nacos's history: what was done, and the text after it was inserted, or before it was updated or
// deleted.
type change struct {
	ID           number `json:"id"`
	OpType       string `json:"opType"` // I, U or D, padded with blanks
	SrcIP        string `json:"srcIp"`
	SrcUser      string `json:"srcUser"`
	PublishType  string `json:"publishType"` // 3.x: formal or gray; 2.x: absent
	Content      string `json:"content"`
	ModifyTime   moment `json:"modifyTime"`       // 3.x
	ModifiedTime moment `json:"lastModifiedTime"` // 2.x
}

func (c change) kind() string { return strings.TrimSpace(c.OpType) }

func (c change) version(content []byte) rules.Version {
	at := c.ModifyTime.Time
	if at.IsZero() {
		at = c.ModifiedTime.Time
	}
	by := c.SrcIP
	if c.SrcUser != "" {
		by = c.SrcUser + "@" + c.SrcIP
	}
	return rules.Version{ID: string(c.ID), Content: content, At: at.UTC(), By: by}
}

// History implements [rules.Historian] by Nacos's own history, which it keeps for 30 days by default
// (nacos.config.retention.days). It looks at the 500 newest changes at most.
func (c *Client) History(ctx context.Context, limit int) ([]rules.Version, error) {
	current, _, err := c.Get(ctx)
	if err != nil {
		return nil, err
	}
	if limit <= 0 || limit > maxHistory {
		limit = maxHistory
	}
	api := newOpenAPI(c.cluster)
	query := url.Values{"dataId": {c.opts.rulesDataID}, "groupName": {c.opts.rulesGroup}}
	if c.cluster.namespace != "" {
		query.Set("namespaceId", c.cluster.namespace)
	}
	var page struct {
		Items []change `json:"pageItems"`
	}
	list := url.Values{"pageNo": {"1"}, "pageSize": {strconv.Itoa(limit)}}
	for k, v := range query {
		list[k] = v
	}
	if err := api.get(ctx, historyList3, historyList2, list, &page); err != nil {
		return nil, err
	}
	changes := slices.DeleteFunc(page.Items, func(c change) bool { return c.PublishType != "" && c.PublishType != "formal" })
	slices.SortFunc(changes, func(a, b change) int { // newest first
		x, _ := strconv.ParseUint(string(a.ID), 10, 64)
		y, _ := strconv.ParseUint(string(b.ID), 10, 64)
		switch {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	for i := range changes {
		item := url.Values{"nid": {string(changes[i].ID)}}
		for k, v := range query {
			item[k] = v
		}
		var full change
		if err := api.get(ctx, historyItem3, historyItem2, item, &full); err != nil {
			return nil, err
		}
		changes[i].Content = full.Content
	}
	return versions(current, changes, limit), nil
}

// versions makes what was published of the changes, newest first, and of what is published now.
func versions(current []byte, changes []change, limit int) []rules.Version {
	var out []rules.Version
	add := func(v rules.Version) {
		v.Judge()
		out = append(out, v)
	}
	after := current // what was published after the change that is looked at
	for _, c := range changes {
		switch c.kind() {
		case "D":
			add(c.version(nil))
			after = []byte(c.Content)
		case "U":
			add(c.version(after))
			after = []byte(c.Content)
		default:
			add(c.version([]byte(c.Content)))
			after = nil
		}
	}
	// What the oldest change replaced was published before the history begins.
	if len(after) > 0 && len(changes) < limit {
		add(rules.Version{Content: after})
	}
	return out
}
