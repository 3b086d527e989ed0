package spec_test
import ("testing";"fmt";"context";"time";"sallyport.dev/spec";"net/url";"runtime")
func TestX(t *testing.T){
 data:=unzip(t,lab+"openapi.yaml.gz")
 s:=time.Now()
 set,err:=spec.Load(context.Background(),[]spec.Source{{Path:"openapi.yaml",Data:data}},spec.Options{})
 fmt.Println(time.Since(s),err)
 if err!=nil {return}
 runtime.GC(); var ms runtime.MemStats; runtime.ReadMemStats(&ms); fmt.Println("heap",ms.HeapAlloc>>20)
 fmt.Println(len(set.Operations()))
 var c spec.Check; n,bad:=0,map[string]int{}; ex:=map[string]string{}
 var m spec.Match
 for _,r:=range traffic(t){
  u,_:=url.Parse(r.URL)
  c.Reset()
  o:=set.Match(r.Method,u.EscapedPath(),&m)
  if o!=spec.Found { bad[fmt.Sprint("match",o)]++; continue }
  n++
  m.Op.CheckParams(&c,&m,u.RawQuery,header(r.Header))
  var b []byte; if r.Body!=nil {b=[]byte(*r.Body)}
  m.Op.CheckBody(&c,r.Header["Content-Type"],b)
  for _,p:=range c.Problems { k:=fmt.Sprint(r.Method," ",m.Op.Template," ",p); bad[k]++; if r.Body!=nil {ex[k]=*r.Body} }
 }
 fmt.Println(n)
 for k,v:=range bad { fmt.Println(v,k,ex[k]) }
}
