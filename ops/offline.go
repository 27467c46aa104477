package ops

import (
	"context"

	"github.com/spf13/cobra"

	"symkeep/internal/api"
)

// Offline is the work on data directories of nodes that do not run.
type Offline interface {
	// Restore makes dataDir that of the founder of a new cluster with the catalog of
	// a backup file, and the blobs that are found in the directories.
	Restore(ctx context.Context, file, dataDir string, blobs []string) (api.RestoreResult, error)
	// PlanRecovery changes nothing.
	PlanRecovery(ctx context.Context, dataDir string) (api.RecoverPlan, error)
	// Recover makes a node the only voter of its cluster.
	Recover(ctx context.Context, dataDir string) (api.RecoverPlan, error)
	// Fsck changes nothing, Repair mends what can be mended alone.
	Fsck(ctx context.Context, dataDir string) (api.FsckReport, error)
	Repair(ctx context.Context, dataDir string) (api.FsckReport, error)
}

func dataDirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "data-dir", "", "`DIR` of the node, which must not run (required)")
}

func needDataDir(dir string) error {
	if dir == "" {
		return Usage("no data directory given: set --data-dir")
	}
	return nil
}

func jsonFlag(c *cobra.Command, json *bool) {
	c.Flags().BoolVar(json, "json", false, "print JSON, one object per line")
}
