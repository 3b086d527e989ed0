package xsd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/spec/xmldoc"
	"sallyport.dev/spec/xsd"
)

// wrap makes a whole schema of what stands inside of one.
func wrap(inside string) string {
	return `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:t" xmlns:t="urn:t" targetNamespace="urn:t" elementFormDefault="qualified">` +
		"\n" + inside + "\n</xs:schema>"
}

// words are words of the built-in types, good ones and bad ones as the judge finds them.
var words = map[string][]string{
	"boolean":            {"true", "false", "1", "0", " true ", "TRUE", "yes", "", "2"},
	"decimal":            {"0", "-1.5", "+1", ".5", "5.", "1e3", "", ".", "1 2", "--1", "007", "12345678901234567890.5", "1,5"},
	"integer":            {"0", "-0", "+12", "1.0", "1.", "99999999999999999999", "abc", ""},
	"long":               {"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"},
	"int":                {"2147483647", "2147483648", "-2147483648", "-2147483649", "0x10"},
	"short":              {"32767", "32768", "-32769"},
	"byte":               {"127", "128", "-128", "-129"},
	"unsignedByte":       {"0", "255", "256", "-1"},
	"unsignedShort":      {"65535", "65536"},
	"unsignedInt":        {"4294967295", "4294967296"},
	"unsignedLong":       {"18446744073709551615", "18446744073709551616"},
	"positiveInteger":    {"1", "0", "-1", "00001"},
	"nonNegativeInteger": {"0", "-1"},
	"negativeInteger":    {"-1", "0"},
	"nonPositiveInteger": {"0", "1", "-7"},
	"float":              {"1", "1.5e3", "-INF", "INF", "NaN", "inf", "1e", "", "1E-5", ".5e1", "e5", "1.e2", "- 1"},
	"double":             {"1e308", "-1.5E10", "NaN", "+INF", "1.2.3", "0x1p3", "1_0"},
	"duration":           {"P1Y", "P1Y2M3DT4H5M6.7S", "-P3D", "PT0S", "P", "PT", "P1H", "1Y", "P1.5Y", "P-1Y", "P1YT", "PT1.5S", "PT1.S", "P1M1Y", "P1D1M", "PT1M1H"},
	"dateTime":           {"2026-02-28T12:00:00", "2026-02-29T12:00:00", "2024-02-29T23:59:59.999Z", "2026-01-01T24:00:00", "2026-01-01T24:00:01", "2026-01-01T12:60:00", "2026-01-01 12:00:00", "2026-01-01T12:00:00+14:00", "2026-01-01T12:00:00+14:01", "-0044-03-15T00:00:00", "12026-01-01T00:00:00", "026-01-01T00:00:00", "2026-1-1T00:00:00", "2026-13-01T00:00:00", "2026-01-01T12:00", "2026-01-01T12:00:00.", "01999-01-01T00:00:00"},
	"date":               {"2026-12-31", "2026-12-32", "2026-00-10", "2026-06-31", "2026-06-30Z", "2026-06-30+05:30", "1900-02-29", "2000-02-29", "20260101"},
	"time":               {"00:00:00", "23:59:59.5", "24:00:00", "25:00:00", "12:00", "12:00:00Z", "12:00:00-08:00", "12:00:61"},
	"gYear":              {"2026", "26", "-2026", "2026Z", "20260"},
	"gYearMonth":         {"2026-01", "2026-13", "2026-1", "2026-01Z"},
	"gMonthDay":          {"--02-29", "--02-30", "--13-01", "-02-01", "--04-31", "--12-31Z"},
	"gDay":               {"---01", "---31", "---32", "--01"},
	"gMonth":             {"--01", "--12", "--13", "-01"},
	"hexBinary":          {"", "0aFF", "0a1", "xy", "0a ff"},
	"base64Binary":       {"", "YWJj", "YWI=", "YQ==", "YWJ", "YQ=", "YW Jj", "YQ=A", "====", "Y!Jj", "YR==", "YWJjZA==", "YQ==YQ=="},
	"anyURI":             {"http://a.example/b?c=d#e", "urn:x", "a b", "", "%41", "../x", "1x:y"},
	"QName":              {"t:a", "a", "u:a", "a:b:c", ":a", "1a"},
	"language":           {"en", "en-GB", "toolonglang", "e1", "en-1", "", "x-klingon-12345678", "en_GB"},
	"NMTOKEN":            {"a", "1a", "-a", "a b", "", "a:b", "é1"},
	"NMTOKENS":           {"a b c", "", "a", "a ! b"},
	"Name":               {"a", "a:b", "1a", "_x", "a b", ":a"},
	"NCName":             {"a", "a:b", "_x-1.2", "-a", "", "élan"},
	"ID":                 {"a", "1", "a b"},
	"token":              {"a  b", " a ", ""},
	"normalizedString":   {"a\tb", ""},
	"string":             {"anything &lt; at all", ""},
	"anySimpleType":      {"anything", ""},
}

// A judged schema has instances; each begins a root element of the namespace.
type judged struct {
	name, schema string
	instances    []string
}

func restricted(base, facets string) string {
	return `<xs:element name="v"><xs:simpleType><xs:restriction base="xs:` + base + `">` + facets + `</xs:restriction></xs:simpleType></xs:element>`
}

func f(name, value string) string { return `<xs:` + name + ` value="` + value + `"/>` }

func vs(values ...string) (out []string) {
	for _, v := range values {
		out = append(out, `<v>`+v+`</v>`)
	}
	return out
}

var judgedSchemas = []judged{
	{"lengths", restricted("string", f("minLength", "2")+f("maxLength", "4")), vs("a", "ab", "abcd", "abcde", "äöüß", " a ")},
	{"length", restricted("hexBinary", f("length", "2")), vs("0a0b", "0a", "0a0b0c")},
	{"base64 length", restricted("base64Binary", f("maxLength", "3")), vs("YWJj", "YWJjZA==", "YQ==")},
	{"pattern", restricted("string", f("pattern", `[A-Z]{2}-\d{3,5}`)), vs("AB-123", "AB-12", "ab-123", "AB-12345", "AB-123456", "xAB-123", "AB-123\n")},
	{"patterns or", restricted("string", f("pattern", `a+`)+f("pattern", `b+`)), vs("aaa", "bb", "ab", "")},
	{"pattern subtraction", restricted("string", f("pattern", `[a-z-[aeiou]]+`)), vs("xyz", "xaz", "")},
	{"pattern name classes", restricted("string", f("pattern", `\i\c*`)), vs("a", "a1", "1a", "a b", "_", ":x")},
	{"pattern dollar", restricted("string", f("pattern", `^a$`)), vs("a", "^a$")},
	{"pattern category", restricted("string", f("pattern", `\p{Lu}\p{Ll}+`)), vs("Abc", "abc", "Élan", "A")},
	{"pattern block", restricted("string", f("pattern", `\p{IsBasicLatin}*`)), vs("abc", "é", "")},
	{"pattern negation", restricted("string", f("pattern", `[^0-9\-]+`)), vs("abc", "a1", "a-b")},
	{"pattern dot", restricted("string", f("pattern", `a.c`)), vs("abc", "ac", "a\nc")},
	{"pattern space", restricted("string", f("pattern", `\S+\s\S+`)), vs("a b", "ab", "a  b")},
	{"pattern word", restricted("string", f("pattern", `\w+`)), vs("abc1", "a b", "a-b", "é")},
	{"pattern group", restricted("token", f("pattern", `(ab|cd){2}e?`)), vs("abcd", "abcde", "ab", "abcdabcd")},
	{"enumeration", restricted("string", f("enumeration", "red")+f("enumeration", "green")), vs("red", "green", "blue", " red", "")},
	{"enumeration of decimals", restricted("decimal", f("enumeration", "1.0")+f("enumeration", "2")), vs("1", "1.00", "2.0", "3")},
	{"enumeration of tokens", restricted("token", f("enumeration", "a b")), vs("a b", " a   b ", "ab")},
	{"range", restricted("int", f("minInclusive", "1")+f("maxExclusive", "10")), vs("0", "1", "9", "10")},
	{"range decimal", restricted("decimal", f("minExclusive", "0.1")+f("maxInclusive", "99.99")), vs("0.1", "0.10001", "99.99", "99.990", "100")},
	{"range date", restricted("date", f("minInclusive", "2026-01-01")+f("maxInclusive", "2026-12-31")), vs("2025-12-31", "2026-01-01", "2026-12-31", "2027-01-01")},
	{"range dateTime", restricted("dateTime", f("minInclusive", "2026-01-01T00:00:00Z")), vs("2026-01-01T00:00:00Z", "2026-01-01T01:00:00+02:00", "2025-12-31T23:00:00-02:00")},
	{"range duration", restricted("duration", f("maxInclusive", "P1M")), vs("P1M", "P27D", "P32D", "P1Y")},
	{"range double", restricted("double", f("maxExclusive", "1e3")), vs("999.9", "1000", "-INF", "INF", "NaN")},
	{"digits", restricted("decimal", f("totalDigits", "5")+f("fractionDigits", "2")), vs("123.45", "1234.56", "1.234", "00123.40", "99999", "100000", "0.5")},
	{"whiteSpace", restricted("string", f("whiteSpace", "collapse")+f("maxLength", "3")), vs("  abc  ", "a   b", "abcd")},
	{"list", `<xs:element name="v"><xs:simpleType><xs:restriction><xs:simpleType><xs:list itemType="xs:int"/></xs:simpleType><xs:maxLength value="3"/></xs:restriction></xs:simpleType></xs:element>`,
		vs("1 2 3", "1 2 3 4", "1 a", "", "  1   2 ")},
	{"union", `<xs:element name="v"><xs:simpleType><xs:union memberTypes="xs:int"><xs:simpleType><xs:restriction base="xs:token"><xs:enumeration value="none"/></xs:restriction></xs:simpleType></xs:union></xs:simpleType></xs:element>`,
		vs("1", "none", "some", " 1 ", "")},
	{"sequence", `<xs:element name="v"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:string" minOccurs="0"/><xs:element name="c" type="xs:int" maxOccurs="3"/></xs:sequence></xs:complexType></xs:element>`,
		[]string{"<v><a>1</a><c>1</c></v>", "<v><a>1</a><b/><c>1</c><c>2</c><c>3</c></v>", "<v><a>1</a><c>1</c><c>1</c><c>1</c><c>1</c></v>", "<v><a>1</a></v>", "<v><c>1</c></v>", "<v><a>1</a><c>1</c><b/></v>",
			"<v><a>1</a>text<c>1</c></v>", "<v/>", "<v><a>x</a><c>1</c></v>", "<v x='1'><a>1</a><c>1</c></v>", "<v><a>1</a><!-- c --><c>1</c></v>", "<v><a xmlns=''>1</a><c>1</c></v>", "<v><a>1</a><c>1</c><d/></v>"}},
	{"choice", `<xs:element name="v"><xs:complexType><xs:choice><xs:element name="a" type="xs:int"/><xs:sequence><xs:element name="b" type="xs:int"/><xs:element name="c" type="xs:int"/></xs:sequence></xs:choice></xs:complexType></xs:element>`,
		[]string{"<v><a>1</a></v>", "<v><b>1</b><c>1</c></v>", "<v><b>1</b></v>", "<v><a>1</a><b>1</b><c>1</c></v>", "<v/>"}},
	{"choice repeated", `<xs:element name="v"><xs:complexType><xs:choice minOccurs="2" maxOccurs="4"><xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:int"/></xs:choice></xs:complexType></xs:element>`,
		[]string{"<v><a>1</a></v>", "<v><a>1</a><b>1</b></v>", "<v><a>1</a><a>1</a><a>1</a><b>1</b></v>", "<v><a>1</a><a>1</a><a>1</a><b>1</b><b>1</b></v>"}},
	{"choice unbounded", `<xs:element name="v"><xs:complexType><xs:choice minOccurs="0" maxOccurs="unbounded"><xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:int"/></xs:choice></xs:complexType></xs:element>`,
		[]string{"<v/>", "<v><a>1</a><b>1</b><a>1</a></v>", "<v><c/></v>"}},
	{"group of counted", `<xs:element name="v"><xs:complexType><xs:sequence minOccurs="1" maxOccurs="2"><xs:element name="a" type="xs:int" minOccurs="2" maxOccurs="3"/></xs:sequence></xs:complexType></xs:element>`,
		[]string{"<v><a>1</a></v>", "<v><a>1</a><a>1</a></v>", "<v><a>1</a><a>1</a><a>1</a><a>1</a></v>", "<v>" + strings.Repeat("<a>1</a>", 6) + "</v>", "<v>" + strings.Repeat("<a>1</a>", 7) + "</v>"}},
	{"counted", `<xs:element name="v"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int" minOccurs="5" maxOccurs="50"/><xs:element name="b" type="xs:int" minOccurs="0" maxOccurs="20"/></xs:sequence></xs:complexType></xs:element>`,
		[]string{"<v>" + strings.Repeat("<a>1</a>", 4) + "</v>", "<v>" + strings.Repeat("<a>1</a>", 5) + "</v>", "<v>" + strings.Repeat("<a>1</a>", 50) + "<b>1</b></v>", "<v>" + strings.Repeat("<a>1</a>", 51) + "</v>",
			"<v>" + strings.Repeat("<a>1</a>", 5) + strings.Repeat("<b>1</b>", 21) + "</v>", "<v>" + strings.Repeat("<a>1</a>", 4) + "<b>1</b></v>"}},
	{"exactly then same", `<xs:element name="v"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int" minOccurs="2" maxOccurs="2"/><xs:element name="b" type="xs:int" minOccurs="0"/><xs:element name="a" type="xs:int" minOccurs="0"/></xs:sequence></xs:complexType></xs:element>`,
		[]string{"<v><a>1</a></v>", "<v><a>1</a><a>1</a></v>", "<v><a>1</a><a>1</a><a>1</a></v>", "<v><a>1</a><a>1</a><a>1</a><a>1</a></v>", "<v><a>1</a><a>1</a><b>1</b><a>1</a></v>"}},
	{"all", `<xs:element name="v"><xs:complexType><xs:all><xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:int" minOccurs="0"/><xs:element name="c" type="xs:int"/></xs:all></xs:complexType></xs:element>`,
		[]string{"<v><a>1</a><c>1</c></v>", "<v><c>1</c><b>1</b><a>1</a></v>", "<v><a>1</a></v>", "<v><a>1</a><a>1</a><c>1</c></v>", "<v/>", "<v><a>1</a><c>1</c><d/></v>"}},
	{"all optional", `<xs:element name="v"><xs:complexType><xs:all minOccurs="0"><xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:int"/></xs:all></xs:complexType></xs:element>`,
		[]string{"<v/>", "<v><a>1</a></v>", "<v><b>1</b><a>1</a></v>"}},
	{"attributes", `<xs:element name="v"><xs:complexType><xs:attribute name="id" type="xs:int" use="required"/><xs:attribute name="kind" fixed="x"/><xs:attribute name="q" type="xs:int" form="qualified"/><xs:attribute name="d" type="xs:int" default="3"/></xs:complexType></xs:element>`,
		[]string{"<v id='1'/>", "<v/>", "<v id='x'/>", "<v id='1' kind='x'/>", "<v id='1' kind='y'/>", "<v id='1' t:q='1' xmlns:t='urn:t'/>", "<v id='1' q='1'/>", "<v id='1' d=''/>", "<v id='1'>x</v>", "<v id='1'> </v>", "<v id='1' z='1'/>", "<v id=' 1 '/>"}},
	{"simple content", `<xs:element name="v"><xs:complexType><xs:simpleContent><xs:extension base="xs:decimal"><xs:attribute name="unit" use="required"><xs:simpleType><xs:restriction base="xs:string"><xs:enumeration value="kg"/><xs:enumeration value="m"/></xs:restriction></xs:simpleType></xs:attribute></xs:extension></xs:simpleContent></xs:complexType></xs:element>`,
		[]string{"<v unit='kg'>1.5</v>", "<v unit='ft'>1.5</v>", "<v unit='kg'>x</v>", "<v>1</v>", "<v unit='kg'><a/></v>", "<v unit='kg'/>"}},
	{"simple content restricted", `<xs:complexType name="w"><xs:simpleContent><xs:extension base="xs:int"><xs:attribute name="u"/></xs:extension></xs:simpleContent></xs:complexType><xs:element name="v"><xs:complexType><xs:simpleContent><xs:restriction base="w"><xs:maxInclusive value="9"/><xs:attribute name="u" use="required"/></xs:restriction></xs:simpleContent></xs:complexType></xs:element>`,
		[]string{"<v u=''>9</v>", "<v>9</v>", "<v u=''>10</v>"}},
	{"extension", `<xs:complexType name="base"><xs:sequence><xs:element name="a" type="xs:int"/></xs:sequence><xs:attribute name="x" type="xs:int"/></xs:complexType>
<xs:complexType name="more"><xs:complexContent><xs:extension base="base"><xs:sequence><xs:element name="b" type="xs:int"/></xs:sequence><xs:attribute name="y" use="required"/></xs:extension></xs:complexContent></xs:complexType>
<xs:complexType name="other"><xs:sequence><xs:element name="a" type="xs:int"/></xs:sequence></xs:complexType>
<xs:element name="v" type="more"/><xs:element name="w" type="base"/>`,
		[]string{"<v y=''><a>1</a><b>1</b></v>", "<v y=''><a>1</a></v>", "<v x='1' y=''><a>1</a><b>1</b></v>", "<v x='q' y=''><a>1</a><b>1</b></v>", "<v><a>1</a><b>1</b></v>",
			`<w><a>1</a></w>`, `<w xsi:type="more" y=""><a>1</a><b>1</b></w>`, `<w xsi:type="other"><a>1</a></w>`, `<w xsi:type="nothing"><a>1</a></w>`, `<w xsi:type="more"><a>1</a></w>`, `<w xsi:type="q:base"><a>1</a></w>`}},
	{"abstract and blocked", `<xs:complexType name="shape" abstract="true"><xs:attribute name="n"/></xs:complexType>
<xs:complexType name="circle"><xs:complexContent><xs:extension base="shape"><xs:attribute name="r" type="xs:int"/></xs:extension></xs:complexContent></xs:complexType>
<xs:element name="v" type="shape"/><xs:element name="w" type="shape" block="extension"/>`,
		[]string{"<v/>", `<v xsi:type="circle" r="1"/>`, `<v xsi:type="shape"/>`, `<w xsi:type="circle"/>`}},
	{"restriction", `<xs:complexType name="base"><xs:sequence><xs:element name="a" type="xs:int" minOccurs="0" maxOccurs="5"/></xs:sequence><xs:attribute name="x" type="xs:int"/><xs:attribute name="z"/></xs:complexType>
<xs:element name="v"><xs:complexType><xs:complexContent><xs:restriction base="base"><xs:sequence><xs:element name="a" type="xs:int" maxOccurs="2"/></xs:sequence><xs:attribute name="x" use="prohibited"/></xs:restriction></xs:complexContent></xs:complexType></xs:element>`,
		[]string{"<v><a>1</a></v>", "<v/>", "<v><a>1</a><a>1</a><a>1</a></v>", "<v x='1'><a>1</a></v>", "<v z='1'><a>1</a></v>"}},
	{"groups", `<xs:group name="g"><xs:sequence><xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:int"/></xs:sequence></xs:group><xs:attributeGroup name="ag"><xs:attribute name="x" use="required"/><xs:attribute name="y"/></xs:attributeGroup>
<xs:element name="v"><xs:complexType><xs:sequence><xs:group ref="g" minOccurs="0" maxOccurs="2"/><xs:element name="e" type="xs:int"/></xs:sequence><xs:attributeGroup ref="ag"/></xs:complexType></xs:element>`,
		[]string{"<v x=''><e>1</e></v>", "<v x=''><a>1</a><b>1</b><e>1</e></v>", "<v x=''><a>1</a><e>1</e></v>", "<v x=''>" + strings.Repeat("<a>1</a><b>1</b>", 2) + "<e>1</e></v>", "<v x=''>" + strings.Repeat("<a>1</a><b>1</b>", 3) + "<e>1</e></v>", "<v><e>1</e></v>"}},
	{"wildcards", `<xs:element name="known" type="xs:int"/><xs:element name="v"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int"/><xs:any namespace="##other" processContents="lax" minOccurs="0" maxOccurs="2"/></xs:sequence><xs:anyAttribute namespace="##other" processContents="skip"/></xs:complexType></xs:element>
<xs:element name="w"><xs:complexType><xs:sequence><xs:any namespace="##targetNamespace" processContents="strict"/></xs:sequence></xs:complexType></xs:element><xs:element name="x"><xs:complexType><xs:sequence><xs:any processContents="skip"/></xs:sequence></xs:complexType></xs:element>
<xs:element name="y"><xs:complexType><xs:sequence><xs:any namespace="urn:o ##local" processContents="lax"/></xs:sequence></xs:complexType></xs:element>`,
		[]string{"<v><a>1</a></v>", "<v><a>1</a><o:b xmlns:o='urn:o'><o:c/></o:b></v>", "<v><a>1</a><b/></v>", "<v><a>1</a><o:b xmlns:o='urn:o'/><o:b xmlns:o='urn:o'/><o:b xmlns:o='urn:o'/></v>", "<v o:z='1' xmlns:o='urn:o'><a>1</a></v>", "<v z='1'><a>1</a></v>",
			"<w><known>1</known></w>", "<w><known>x</known></w>", "<w><unknown/></w>", "<x><known>x</known></x>", "<x><q xmlns=''><z/></q></x>", "<x/>", "<y><q xmlns=''/></y>", "<y><q xmlns='urn:o'/></y>", "<y><q xmlns='urn:p'/></y>", "<v><a>1</a><o:b xmlns:o='urn:o'><known xmlns='urn:t'>x</known></o:b></v>"}},
	{"substitution", `<xs:element name="head" type="xs:string"/><xs:element name="mem" type="xs:token" substitutionGroup="head"/><xs:element name="far" substitutionGroup="mem"/><xs:element name="abs" abstract="true" type="xs:string"/><xs:element name="con" type="xs:string" substitutionGroup="abs"/>
<xs:element name="closed" type="xs:string" block="substitution"/><xs:element name="in" type="xs:string" substitutionGroup="closed"/>
<xs:element name="v"><xs:complexType><xs:choice maxOccurs="unbounded"><xs:element ref="head"/><xs:element ref="abs"/><xs:element ref="closed"/></xs:choice></xs:complexType></xs:element>`,
		[]string{"<v><head/></v>", "<v><mem/></v>", "<v><far/></v>", "<v><abs/></v>", "<v><con/></v>", "<v><in/></v>", "<v><closed/></v>", "<v><v/></v>"}},
	{"nillable", `<xs:element name="v" nillable="true" type="xs:int"/><xs:element name="w" type="xs:int"/>`,
		[]string{`<v xsi:nil="true"/>`, `<v xsi:nil="true">1</v>`, `<v/>`, `<v xsi:nil="false">1</v>`, `<w xsi:nil="true"/>`, `<v xsi:nil="maybe"/>`, `<v xsi:nil="1"/>`}},
	{"fixed and default", `<xs:element name="v" fixed="1.0" type="xs:decimal"/><xs:element name="w" default="7" type="xs:int"/>`,
		[]string{"<v>1.00</v>", "<v>1</v>", "<v>2</v>", "<v/>", "<w/>", "<w>8</w>", "<w>x</w>"}},
	{"mixed", `<xs:element name="v"><xs:complexType mixed="true"><xs:sequence><xs:element name="b" type="xs:string" minOccurs="0" maxOccurs="unbounded"/></xs:sequence></xs:complexType></xs:element>`,
		[]string{"<v>a<b>c</b>d</v>", "<v/>", "<v>a<i>c</i></v>"}},
	{"ids", `<xs:element name="v"><xs:complexType><xs:sequence><xs:element name="i" maxOccurs="unbounded"><xs:complexType><xs:attribute name="id" type="xs:ID"/><xs:attribute name="to" type="xs:IDREF"/><xs:attribute name="all" type="xs:IDREFS"/></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element>`,
		[]string{"<v><i id='a'/><i id='b' to='a'/></v>", "<v><i id='a'/><i id='a'/></v>", "<v><i id='a' to='c'/></v>", "<v><i id='a'/><i id='b' all='a b'/></v>", "<v><i all='x'/></v>"}},
	{"keys", `<xs:element name="v"><xs:complexType><xs:sequence><xs:element name="p" maxOccurs="unbounded"><xs:complexType><xs:simpleContent><xs:extension base="xs:string"><xs:attribute name="n" type="xs:decimal"/></xs:extension></xs:simpleContent></xs:complexType></xs:element><xs:element name="r" minOccurs="0" maxOccurs="unbounded" type="xs:decimal"/></xs:sequence></xs:complexType>
<xs:key name="k"><xs:selector xpath="t:p"/><xs:field xpath="@n"/></xs:key><xs:keyref name="kr" refer="k"><xs:selector xpath="t:r"/><xs:field xpath="."/></xs:keyref><xs:unique name="u"><xs:selector xpath=".//t:p"/><xs:field xpath="."/></xs:unique></xs:element>`,
		[]string{"<v><p n='1'>a</p><p n='2'>b</p><r>1</r></v>", "<v><p n='1'>a</p><p n='1.0'>b</p></v>", "<v><p>a</p></v>", "<v><p n='1'>a</p><r>3</r></v>", "<v><p n='1'>a</p><p n='2'>a</p></v>", "<v><p n='1'>a</p><r>1.00</r></v>"}},
	{"recursion", `<xs:complexType name="tree"><xs:sequence><xs:element name="n" type="tree" minOccurs="0" maxOccurs="2"/></xs:sequence><xs:attribute name="x" type="xs:int"/></xs:complexType><xs:element name="v" type="tree"/>`,
		[]string{"<v><n><n/><n/></n></v>", "<v><n><n/><n/><n/></n></v>", "<v><n><n x='q'/></n></v>"}},
	{"empty content", `<xs:element name="v"><xs:complexType/></xs:element>`, []string{"<v/>", "<v></v>", "<v>x</v>", "<v><a/></v>"}},
	{"any type", `<xs:element name="v"/><xs:element name="k" type="xs:int"/>`, []string{"<v/>", "<v a='1'>x<q/></v>", "<v><k>x</k></v>", "<v><k>1</k></v>"}},
}

func TestJudgedByXmllint(t *testing.T) {
	dir := t.TempDir()
	cases := append([]judged(nil), judgedSchemas...)
	var all strings.Builder
	var list []string
	for name, ws := range words {
		fmt.Fprintf(&all, `<xs:element name="w.%s" type="xs:%s"/>`, name, name)
		for _, w := range ws {
			list = append(list, fmt.Sprintf("<w.%s>%s</w.%s>", name, w, name))
		}
	}
	cases = append(cases, judged{"words", all.String(), list})
	total, valid := 0, 0
	for k, c := range cases {
		schema := wrap(c.schema)
		file := filepath.Join(dir, fmt.Sprintf("%d.xsd", k))
		if err := os.WriteFile(file, []byte(schema), 0o600); err != nil {
			t.Fatal(err)
		}
		set, faults := xsd.Load(nil, xsd.Source{Name: c.name, Data: []byte(schema)})
		if len(faults) > 0 {
			t.Errorf("%s: %v", c.name, faults)
			continue
		}
		args := []string{"--noout", "--nonet", "--schema", file}
		docs, given := map[string]string{}, map[string]string{}
		for i, text := range c.instances {
			at := strings.IndexAny(text, " />")
			text = text[:at] + ` xmlns="urn:t" xmlns:t="urn:t" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"` + strings.Replace(text[at:], "xmlns:t='urn:t'", "", 1)
			name := filepath.Join(dir, fmt.Sprintf("%d-%d.xml", k, i))
			docs[name], given[name] = text, c.instances[i]
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, name)
		}
		out, err := exec.Command("xmllint", args...).CombinedOutput()
		if _, ran := err.(*exec.ExitError); err != nil && !ran {
			t.Fatalf("xmllint (Debian libxml2-utils) is needed: %v", err)
		}
		for name, text := range docs {
			want := strings.Contains(string(out), name+" validates")
			if !want && !strings.Contains(string(out), name+" fails to validate") {
				t.Errorf("%s: no judgement of %s\n%s", c.name, text, out)
			}
			var d xmldoc.Doc
			var v xsd.Validation
			if err := d.Parse([]byte(text), xmldoc.Limits{}); err != nil {
				t.Errorf("%s: %s: %v", c.name, text, err)
				continue
			}
			got := set.Validate(&d, xsd.Root{Any: true}, &v)
			total++
			if want {
				valid++
			}
			if why, ours := differs[given[name]]; ours && (c.name == "words" || c.name == "ids" || c.name == "attributes" || c.name == "fixed and default") {
				if got == want {
					t.Errorf("%s: %s: no difference any more (%s)", c.name, text, why)
				}
				continue
			}
			if got != want {
				t.Errorf("%s: %s\ngot valid = %v, want %v: %v", c.name, text, got, want, v.Problems)
			}
		}
	}
	if total < 300 {
		t.Errorf("%d cases were judged", total)
	}
	t.Logf("%d documents judged, %d of them valid", total, valid)
}

// differs are documents of which the judge thinks otherwise, and why we do.
var differs = map[string]string{
	"<v id=' 1 '/>":                  "white space of an xs:int is collapsed in attributes too (part 2, section 4.3.6)",
	"<v>1.00</v>":                    "fixed values are compared as values (part 1, cvc-elt 5.2.2)",
	"<v>1</v>":                       "as above",
	"<v><i id='a' to='c'/></v>":      "the judge does not look where an IDREF leads",
	"<v><i all='x'/></v>":            "as above",
	"<w.float>1e</w.float>":          "an exponent has digits (part 2, section 3.2.4.1)",
	"<w.NMTOKENS></w.NMTOKENS>":      "NMTOKENS holds at least one (part 2, section 3.3.5)",
	"<w.duration>PT1.S</w.duration>": "a point is followed by digits (part 2, section 3.2.6.1)",
}
