package ops

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
)

func backupRestore(env Env) *cobra.Command {
	var dir string
	var blobs []string
	var json bool
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "make a new cluster's first node of a backup",
		Long: "Makes an empty data directory that of the first node of a NEW cluster, with the catalog\n" +
			"of the backup and the blobs found in --blobs: directories of a backup, or old data\n" +
			"directories whose nodes do not run. Every blob is read and compared, then linked or, on\n" +
			"another file system, copied. Packages, verdicts and settings are as they were; uploads\n" +
			"that were under way are expired, and mail that was waiting is dropped, because it may\n" +
			"have been sent since. For 7 days nothing is retired. An interrupted restore is repeated\n" +
			"with the same FILE into the same directory.\n\n" +
			"Then start `symkeep node` on the directory as always, without --join, and let fresh nodes\n" +
			"join it. Agents and nodes of the old cluster are refused: it has another id.",
		Example: "  symkeep backup restore /backup/symkeep.bak --data-dir /var/lib/symkeep --blobs /backup/blobs",
		Args:    Args(1, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needDataDir(dir); err != nil {
				return err
			}
			r, err := env.Offline.Restore(cmd.Context(), args[0], dir, blobs)
			if err != nil {
				return err
			}
			return printer{env, json}.print(r, func(w io.Writer) error { return writeRestored(w, r) })
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "", "empty `DIR` of the node to be (required)")
	c.Flags().StringSliceVar(&blobs, "blobs", nil, "`DIR[,DIR]` with packed blobs, or old data directories")
	jsonFlag(c, &json)
	return c
}

func writeRestored(w io.Writer, r api.RestoreResult) error {
	b := r.Blobs
	fmt.Fprintf(w, "%s is node %s of the new cluster %s\n", r.DataDir, r.Node, r.ClusterID)
	fmt.Fprintf(w, "catalog of cluster %s at index %d, saved %s\n", r.From, r.Index, stamp(r.Created))
	fmt.Fprintf(w, "blobs: %d of %d (%s): %d linked, %d copied, %d there already; %d missing, %d damaged\n",
		b.Linked+b.Copied+b.There, b.Wanted, agent.Size(b.Bytes), b.Linked, b.Copied, b.There, b.Missing, b.Damaged)
	for _, d := range b.Lost[:min(20, len(b.Lost))] {
		fmt.Fprintf(w, "  without %s\n", d)
	}
	_, err := fmt.Fprintf(w, "packages: %d of %d good ones can be served whole; %s expired, %s go to validation again, %s dropped\n",
		r.Servable, r.Packages, plural(int64(r.Expired), "upload"), plural(int64(r.Requeued), "package"), plural(int64(r.Notices), "mail"))
	for _, id := range r.Lacking {
		_, err = fmt.Fprintf(w, "  incomplete: package %s\n", id)
	}
	return err
}
