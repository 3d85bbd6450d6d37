package graynacos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/graychain/graychain/pkg/graylib/rules"
)

var _ rules.Clocked = (*Client)(nil)

// errNoDate is wrapped where a server's answer bears no time.
var errNoDate = errors.New("its answers have no Date")

// dateStep is how much later than its Date an answer may have been written: the header is in whole seconds, and Nacos's HTTP server
// makes a new one when the last is a second old (org.apache.tomcat.util.http.FastHttpDateFormat).
const dateStep = 2 * time.Second

// Clock implements [rules.Clocked] by the Date of an HTTP answer, on the port that the configuration names: of the first server that
// answers.
func (c *Client) Clock(ctx context.Context) (ahead, within time.Duration, err error) {
	client := newOpenAPI(c.cluster).client
	for _, s := range c.cluster.servers {
		// Any path's answer has a Date, an error's too; this one says nothing and needs no login.
		ahead, within, err = clock(ctx, client, "http://"+s.IpAddr+":"+strconv.FormatUint(s.Port, 10)+"/nacos/v3/admin/core/state/liveness")
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("nacos %s: %s", c.cluster, oneLine(err))
	}
	return ahead, within, nil
}

func clock(ctx context.Context, client *http.Client, url string) (ahead, within time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, err
	}
	asked := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	answered := time.Now()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
	_ = resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, 0, errNoDate
	}
	least, most := date.Sub(answered), date.Add(dateStep).Sub(asked)
	return (least + most) / 2, (most - least) / 2, nil
}
