package scenarios

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const redisPort = 6379

// redis is a server of the run's own, which pods reach at the bridge's address. What it holds goes when it stops.
type redis struct {
	address netip.AddrPort
	folder  string
	command *exec.Cmd
}

func (w *world) startRedis(t *testing.T) *redis {
	t.Helper()
	r := &redis{address: netip.AddrPortFrom(w.bridge.Gateway(), redisPort), folder: t.TempDir()}
	r.start(t)
	t.Cleanup(r.stop)
	return r
}

func (r *redis) start(t *testing.T) {
	t.Helper()
	r.command = exec.Command("redis-server", "--bind", r.address.Addr().String(), "--port", fmt.Sprint(redisPort),
		"--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", r.folder)
	if err := r.command.Start(); err != nil {
		t.Fatalf("starting a Redis server: %v", err)
	}
	eventually(t, soon, "Redis to answer", func(context.Context) error {
		_, err := r.ask("PING")
		return err
	})
}

func (r *redis) stop() {
	_ = r.command.Process.Kill()
	_ = r.command.Wait()
}

// setLength gives a list a length, as one change.
func (r *redis) setLength(t *testing.T, list string, length int) {
	t.Helper()
	commands := []string{"MULTI", "DEL " + list}
	if length > 0 {
		commands = append(commands, "RPUSH "+list+strings.Repeat(" job", length))
	}
	if _, err := r.ask(append(commands, "EXEC")...); err != nil {
		t.Fatal(err)
	}
}

// ask sends inline commands (https://redis.io/docs/latest/develop/reference/protocol-spec/) and returns the first line of
// each answer.
func (r *redis) ask(commands ...string) ([]string, error) {
	connection, err := net.DialTimeout("tcp", r.address.String(), 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("asking Redis: %w", err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, fmt.Errorf("asking Redis: %w", err)
	}
	var answers []string
	reader := bufio.NewReader(connection)
	for _, command := range commands {
		if _, err := fmt.Fprintf(connection, "%s\r\n", command); err != nil {
			return nil, fmt.Errorf("asking Redis: %s: %w", command, err)
		}
		answer, err := reader.ReadString('\n')
		if err != nil || strings.HasPrefix(answer, "-") {
			return nil, fmt.Errorf("asking Redis: %s: %q %w", command, answer, err)
		}
		answers = append(answers, strings.TrimSpace(answer))
	}
	return answers, nil
}
