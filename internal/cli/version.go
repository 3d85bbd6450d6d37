package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version(debug.ReadBuildInfo()))
			return err
		},
	}
}

// version renders what the go command wrote into the program.
func version(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return "graychain, built without module information"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	out := "graychain " + v
	if rev := set["vcs.revision"]; rev != "" {
		out += ", commit " + rev[:min(12, len(rev))]
		if set["vcs.modified"] == "true" {
			out += " with changes"
		}
	}
	return out + ", " + info.GoVersion
}
