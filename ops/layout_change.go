package ops

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A layoutChange is the flags that describe a change.
type layoutChange struct {
	weights, drain, remove, add []string
	replicas                    int
}

func (ch *layoutChange) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&ch.weights, "weight", nil, fmt.Sprintf("`NODE=WEIGHT`, 1 to %d, where %d is usual; may be repeated", catalog.MaxWeight, catalog.DefaultWeight))
	f.IntVar(&ch.replicas, "replicas", 0, "copies of each blob, 1 to 16; 0 leaves it")
}

func (ch *layoutChange) empty() bool {
	return len(ch.weights)+len(ch.drain)+len(ch.remove)+len(ch.add) == 0 && ch.replicas == 0
}

func (ch *layoutChange) request() (api.LayoutRequest, error) {
	req := api.LayoutRequest{Replicas: ch.replicas, Drain: ch.drain, Remove: ch.remove}
	if ch.replicas < 0 || ch.replicas > 16 {
		return req, Usage("--replicas %d, wanted 1 to 16, or 0 to leave it", ch.replicas)
	}
	for _, s := range ch.weights {
		name, text, ok := strings.Cut(s, "=")
		w, good := weight(text)
		if _, twice := req.Weights[name]; !ok || !good || name == "" || twice {
			return req, Usage("--weight %q: wanted NODE=WEIGHT, each node once, weights 1 to %d", s, catalog.MaxWeight)
		}
		if req.Weights == nil {
			req.Weights = map[string]int{}
		}
		req.Weights[name] = w
	}
	for _, s := range ch.add {
		parts := strings.Split(s, ":")
		a := api.LayoutAdd{Name: parts[0]}
		good := a.Name != "" && len(parts) <= 3
		if len(parts) > 1 {
			a.Zone = parts[1]
		}
		if len(parts) > 2 && good {
			a.Weight, good = weight(parts[2])
		}
		if !good {
			return req, Usage("--add %q: wanted NAME, NAME:ZONE or NAME:ZONE:WEIGHT, weights 1 to %d", s, catalog.MaxWeight)
		}
		req.Add = append(req.Add, a)
	}
	return req, nil
}

func weight(s string) (int, bool) {
	w, err := strconv.Atoi(s)
	return w, err == nil && w >= 1 && w <= catalog.MaxWeight
}

// next is the command that makes a plan true.
func (ch *layoutChange) next(base uint64) string {
	if len(ch.drain)+len(ch.remove)+len(ch.add) > 0 {
		return "members change by `symkeep cluster join`, `drain` and `remove`"
	}
	args := ""
	for _, w := range ch.weights {
		args += " --weight " + w
	}
	if ch.replicas > 0 {
		args += " --replicas " + strconv.Itoa(ch.replicas)
	}
	return fmt.Sprintf("to do it: symkeep cluster layout apply%s --base %d --yes", args, base)
}
