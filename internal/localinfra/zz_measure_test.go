package localinfra
import ("testing";"os";"fmt";"strings";"time";"context")
func TestZZ(t *testing.T){
 for i := range 4 {
  o := testPorts(Options{State: t.TempDir(), Discard:true, NoArchive: i%2==1})
  b:=time.Now(); s,err:=Start(t.Context(),o); if err!=nil{t.Fatal(err)}
  cpu:=""
  for _,x:=range s.all(){ d,_:=os.ReadFile(fmt.Sprintf("/proc/%d/stat",x.Process().PID())); f:=strings.Fields(string(d)); var u,v int; fmt.Sscan(f[13],&u); fmt.Sscan(f[14],&v); cpu+=fmt.Sprintf(" %s %.1fs", x.Name(), float64(u+v)/100)}
  la,_:=os.ReadFile("/proc/loadavg")
  t.Logf("archive=%t wall %s cpu%s load %s", !o.NoArchive, time.Since(b).Round(10*time.Millisecond), cpu, strings.Fields(string(la))[0])
  for _,p:=range s.Phases(){ t.Logf("   %s %s %s",p.Server,p.Name,p.Took.Round(time.Millisecond))}
  b=time.Now(); if err:=s.Stop(context.Background());err!=nil{t.Error(err)}; t.Logf("   stop %s",time.Since(b).Round(time.Millisecond))
 }
}
