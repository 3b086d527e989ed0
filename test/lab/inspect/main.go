// Command inspect measures what the inspection engine catches and spares.
package main

func main() {}
