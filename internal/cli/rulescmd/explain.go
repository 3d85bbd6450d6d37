package rulescmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// errNothingPublished is what commands return that need a document.
var errNothingPublished = errors.New("no rules document is published")

func newExplain(deps Deps) *cobra.Command {
	var (
		service, output           string
		path, method, ip, body    string
		headers, queries, cookies []string
		metainfo                  []string
	)
	cmd := &cobra.Command{
		Use:   "explain --service NAME [FILE|-]",
		Short: "Tell which lane and entry a request would get, and why not the others",
		Long: `Evaluates the entries of a service on a request that is described by flags, with the document of the file, or with the one that
is published. A flag with NAME=VALUE can be given more than once.`,
		Example: `  graychain rules explain --service a --path /dubbo --query name=xiaoming`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if service == "" {
				return deps.Usage(errors.New("--service is missing: the callee whose entries are evaluated"))
			}
			if output != "text" && output != "json" {
				return deps.Usage(fmt.Errorf("--output is %q; want text or json", output))
			}
			req := &request{values: map[graylib.From][]pair{}}
			for _, f := range []struct {
				from  graylib.From
				flag  string
				pairs []string
			}{
				{graylib.FromHeader, "header", headers}, {graylib.FromQuery, "query", queries},
				{graylib.FromCookie, "cookie", cookies}, {graylib.FromMetainfo, "metainfo", metainfo},
			} {
				if err := req.add(f.from, f.flag, f.pairs); err != nil {
					return deps.Usage(err)
				}
			}
			for from, value := range map[graylib.From]string{graylib.FromPath: path, graylib.FromMethod: method, graylib.FromIP: ip} {
				if value != "" {
					req.values[from] = []pair{{value: value}}
				}
			}
			if name, ok := strings.CutPrefix(body, "@"); ok {
				content, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				body = string(content)
			}
			req.body = []byte(body)

			content, name, err := document(cmd, deps, args)
			if err != nil {
				return err
			}
			doc, err := rules.Parse(content)
			if err != nil {
				return report(cmd, name, err)
			}
			compiled, err := rules.Compile(doc)
			if err != nil {
				return report(cmd, name, err)
			}
			explanation := rules.Explain(compiled, service, req)
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				enc.SetEscapeHTML(false)
				return enc.Encode(explanation)
			}
			return writeExplanation(cmd.OutOrStdout(), explanation)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&service, "service", "", "the callee: its name in the registry, b for both b and b.rpc")
	flags.StringVar(&path, "path", "", "path as the callee sees it (on RPC: /Service/Method)")
	flags.StringVar(&method, "method", "GET", "HTTP method (on RPC: the thrift method)")
	flags.StringVar(&ip, "ip", "", "the client's address")
	flags.StringVar(&body, "body", "", "JSON body, or @FILE")
	flags.StringArrayVar(&headers, "header", nil, "header, NAME=VALUE")
	flags.StringArrayVar(&queries, "query", nil, "query parameter, NAME=VALUE")
	flags.StringArrayVar(&cookies, "cookie", nil, "cookie, NAME=VALUE")
	flags.StringArrayVar(&metainfo, "metainfo", nil, "metainfo of an RPC, KEY=VALUE")
	flags.StringVar(&output, "output", "text", "text or json")
	return cmd
}

// document reads the file that the arguments name, or what is published.
func document(cmd *cobra.Command, deps Deps, args []string) (content []byte, name string, err error) {
	if len(args) == 1 {
		content, err = readInput(cmd, args[0])
		return content, inputName(args[0]), err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	store, addr, done, err := deps.open(cmd, ctx)
	if err != nil {
		return nil, "", err
	}
	defer done()
	content, _, err = store.Get(ctx)
	if err == nil && len(content) == 0 {
		err = fmt.Errorf("%w at nacos %s: publish one with `graychain rules apply FILE`", errNothingPublished, addr)
	}
	return content, "nacos " + addr, err
}

// pair is a value with its name.
type pair struct{ key, value string }

// request is a request described by flags.
type request struct {
	values map[graylib.From][]pair
	body   []byte
}

func (r *request) add(from graylib.From, flag string, pairs []string) error {
	for _, p := range pairs {
		key, value, ok := strings.Cut(p, "=")
		if !ok || key == "" {
			return fmt.Errorf("--%s is %q; want NAME=VALUE", flag, p)
		}
		r.values[from] = append(r.values[from], pair{key, value})
	}
	return nil
}

// Value implements [graylib.Request]. Headers are compared without regard to case.
func (r *request) Value(from graylib.From, key string, i int) (string, bool) {
	for _, p := range r.values[from] {
		if p.key == "" || p.key == key || (from == graylib.FromHeader && strings.EqualFold(p.key, key)) {
			if i == 0 {
				return p.value, true
			}
			i--
		}
	}
	return "", false
}

// Body implements [graylib.Request].
func (r *request) Body() []byte { return r.body }

func writeExplanation(w io.Writer, e rules.Explanation) error {
	var b strings.Builder
	if e.Coloured {
		fmt.Fprintf(&b, "lane %s, by entry %s (service %s, revision %d)\n", e.Tag, e.Entry, e.Service, e.Revision)
	} else {
		fmt.Fprintf(&b, "baseline: no entry colours the request (service %s, revision %d)\n", e.Service, e.Revision)
	}
	for _, l := range e.Lanes {
		fmt.Fprintf(&b, "\nlane %s: %s\n", l.Tag, l.Why)
		for _, entry := range l.Entries {
			fmt.Fprintf(&b, "  %s %s: %s\n", tick(entry.Matches), entry.Name, entry.Why)
			for _, c := range entry.Conditions {
				fmt.Fprintf(&b, "      %s %s: %s\n", tick(c.Holds), c.Condition, c.Why)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func tick(yes bool) string {
	if yes {
		return "+"
	}
	return "-"
}
