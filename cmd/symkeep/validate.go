package main

import (
	"os"

	"github.com/spf13/cobra"

	"symkeep/internal/courier"
	"symkeep/node"
	"symkeep/ops"
)

// validateCommandName is the hidden command a node runs for each package it
// validates.
const validateCommandName = "validate-child"

func newValidateCommand() *cobra.Command {
	return &cobra.Command{
		Use:    validateCommandName,
		Short:  "validate the files listed on standard input (run by a node)",
		Hidden: true,
		Args:   ops.Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return node.ValidateChild(cmd.Context(), os.Stdin, os.Stdout)
		},
	}
}

// courierCommandName is the hidden command a node runs to move the bytes of repair.
const courierCommandName = "courier-child"

func newCourierCommand() *cobra.Command {
	return &cobra.Command{
		Use:    courierCommandName,
		Short:  "copy blobs as asked on standard input (run by a node)",
		Hidden: true,
		Args:   ops.Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return courier.Child(cmd.Context(), os.Stdin, os.Stdout)
		},
	}
}
