package ops

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
)

func fsckCommand(env Env) *cobra.Command {
	var dir string
	var repair, json bool
	c := &cobra.Command{
		Use:   "fsck",
		Short: "check the data directory of a node that does not run",
		Long: "Reads everything that a node keeps: who it is, its catalog, its log, and every blob with\n" +
			"all of its bytes. With --repair, damaged blobs are set aside in quarantine/ and the local\n" +
			"index is built anew from the others; catalog and log are never changed. The exit status\n" +
			"is 0 when no problem is left, 1 when there are some, and 4 while the node runs.",
		Example: "  symkeep fsck --data-dir /var/lib/symkeep\n" +
			"  symkeep fsck --data-dir /var/lib/symkeep --repair --json",
		Args: Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needDataDir(dir); err != nil {
				return err
			}
			check := env.Offline.Fsck
			if repair {
				check = env.Offline.Repair
			}
			r, err := check(cmd.Context(), dir)
			if err != nil {
				return err
			}
			err = printer{env, json}.print(r, func(w io.Writer) error { return writeFsck(w, r) })
			if err == nil && !r.OK {
				err = &ExitError{Code: ExitFailure}
			}
			return err
		},
	}
	dataDirFlag(c, &dir)
	jsonFlag(c, &json)
	c.Flags().BoolVar(&repair, "repair", false, "set damaged blobs aside and build the local index anew")
	return c
}

func writeFsck(w io.Writer, r api.FsckReport) error {
	for _, p := range r.Problems {
		what := p.Check
		if !p.Blob.IsZero() {
			what += " " + p.Blob.String()
		}
		then := "do: " + p.Do
		if p.Repaired {
			then = "repaired"
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n  %s\n", what, agent.Clean(p.Found), agent.Clean(then)); err != nil {
			return err
		}
	}
	if r.More > 0 {
		fmt.Fprintf(w, "and %s more\n", plural(int64(r.More), "problem"))
	}
	state := "clean"
	if !r.OK {
		state = "PROBLEMS, see above"
	}
	_, err := fmt.Fprintf(w, "node %s of cluster %s: catalog at index %d, log to %d; %s read, %s: %s damaged, %s missing, %s unknown to the catalog\n%s\n",
		r.Node, r.ClusterID, r.Applied, max(r.LastIndex, r.Snapshot), plural(r.Blobs, "blob"), agent.Size(r.Bytes),
		count(r.Damaged), count(r.Missing), count(r.Orphans), state)
	return err
}

func count(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}
