package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/pkg/graylib"
)

// signFlags are the flags of `graychain sign`.
type signFlags struct {
	key, method, path string
	ttl               time.Duration
}

func newSign() *cobra.Command {
	var f signFlags
	cmd := &cobra.Command{
		Use:   "sign TAG",
		Short: "Sign a tag, so that a gateway that has the key takes it from outside",
		Long: `sign prints a header with which a gateway colours a request into lane TAG, if its rules list it. The key comes from
$` + graylib.EnvTrustKeys + ` (id:base64[,id:base64…], as the gateway has it), the first unless --key names another. Until it expires, the
header can be used again and again, by whoever has it; --method and --path bind it to one kind of request.`,
		Example: `  export ` + graylib.EnvTrustKeys + `=k1:$(head -c 32 /dev/urandom | base64)
  curl -H "$(graychain sign gray)" http://127.0.0.1:20000/A/dubbo`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			header, err := f.sign(args[0], os.Getenv(graylib.EnvTrustKeys), time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), header)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.key, "key", "", "id of the key to sign with (default the first)")
	flags.StringVar(&f.method, "method", "", "bind the signature to this method; goes with --path")
	flags.StringVar(&f.path, "path", "", "bind the signature to this path, as it stands in the URL; goes with --method")
	flags.DurationVar(&f.ttl, "for", time.Minute, fmt.Sprintf("how long it is good for, 1s to %v", graylib.MaxSignedTagTTL))
	return cmd
}

// sign returns the header for a tag, with one of the keys.
func (f *signFlags) sign(tag, keys string, now time.Time) (string, error) {
	list, err := graylib.ParseTrustKeys(keys)
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fmt.Errorf("no key to sign with: set $%s to id:base64[,id:base64…], as the gateway has it", graylib.EnvTrustKeys)
	}
	i := 0
	if f.key != "" {
		i = slices.IndexFunc(list, func(k graylib.TrustKey) bool { return k.ID == f.key })
	}
	if i < 0 {
		var ids []string
		for _, k := range list {
			ids = append(ids, k.ID)
		}
		return "", usage("--key=%q: want one of %s", f.key, strings.Join(ids, ", "))
	}
	if f.ttl == 0 {
		return "", usage("--for=0s: want 1s to %v", graylib.MaxSignedTagTTL)
	}
	token, err := graylib.SignTag(list[i], graylib.SignedTag{
		Tag: graylib.Tag(tag), Method: strings.ToUpper(f.method), Path: f.path, TTL: f.ttl,
	}, now)
	if err != nil {
		return "", usageError{err}
	}
	return graylib.HTTPSignedTag + ": " + token, nil
}
