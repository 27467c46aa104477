package main

import (
	"context"

	"symkeep/internal/api"
	"symkeep/node"
)

// offline is the ops.Offline of the program.
type offline struct{}

func (offline) Restore(ctx context.Context, file, dataDir string, blobs []string) (api.RestoreResult, error) {
	log, err := newLogger("error", "text")
	if err != nil {
		return api.RestoreResult{}, err
	}
	return node.Restore(ctx, node.RestoreConfig{File: file, DataDir: dataDir, Blobs: blobs, Logger: log})
}

func (offline) PlanRecovery(ctx context.Context, dataDir string) (api.RecoverPlan, error) {
	return node.Recover(ctx, node.RecoverConfig{DataDir: dataDir})
}

func (offline) Recover(ctx context.Context, dataDir string) (api.RecoverPlan, error) {
	return node.Recover(ctx, node.RecoverConfig{DataDir: dataDir, Do: true})
}

func (offline) Fsck(ctx context.Context, dataDir string) (api.FsckReport, error) {
	return node.Fsck(ctx, node.FsckConfig{DataDir: dataDir})
}

func (offline) Repair(ctx context.Context, dataDir string) (api.FsckReport, error) {
	return node.Fsck(ctx, node.FsckConfig{DataDir: dataDir, Repair: true})
}
