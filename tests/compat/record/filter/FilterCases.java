import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.parser.SelectorParser;

/** Asks stock RocketMQ what it makes of SQL92 expressions. Writes lines of result, expression and properties. */
public class FilterCases {
    private static final String[] WRITTEN = {
        "a > 5", "a >= 5", "a < 5", "a <= 5", "a = 5", "a <> 5", "5 < a", "5 = a", "5 <> a", "a > 5L", "a = 3000000000", "a > -5", "a = -5",
        "a = 'x'", "'x' = a", "a <> 'x'", "'x' <> a", "a = 'it''s'", "a = ''", "a = b", "a <> b", "a > b", "a <= b", "a = 5.5", "a > .5", "a > 5.",
        "a > 1e3", "a > 1E-3", "a > 0.0", "a > 0.5", "a > -0.5", "a > 1e999", "a > 1e-999", "a = TRUE", "TRUE = a", "a = false", "a <> TRUE", "TRUE",
        "FALSE", "NULL", "NOT TRUE", "NOT NULL", "NOT a", "a", "a AND b", "a OR TRUE", "a AND TRUE", "TRUE OR a > 5", "a > 5 OR TRUE",
        "a IS NULL", "a IS NOT NULL", "NULL IS NULL", "5 IS NULL", "a IS TRUE", "a = NULL", "NULL = a", "NULL <> NULL", "TRUE = TRUE", "TRUE = FALSE",
        "TRUE = 'x'", "'x' = TRUE", "TRUE = 5", "5 = TRUE", "5 = 5", "5 = 5.0", "5.0 = 5", "'5' = 5", "5 = '5'", "'a' = 'a'", "5 > 4", "'a' < 'b'", "TRUE > FALSE",
        "a BETWEEN 1 AND 5", "a NOT BETWEEN 1 AND 5", "a BETWEEN 5 AND 1", "a NOT BETWEEN 5 AND 1", "a BETWEEN b AND c", "a BETWEEN NULL AND 5",
        "a NOT BETWEEN NULL AND 5", "a BETWEEN 'a' AND 'b'", "a BETWEEN -5 AND 5", "a BETWEEN 1 AND 5.5", "3 BETWEEN a AND 5", "a BETWEEN 1 OR 5", "a BETWEEN 1 AND",
        "a IN ('x')", "a IN ('x', 'y', 'z')", "a NOT IN ('x', 'y')", "a IN ()", "a IN (5)", "5 IN ('x')", "a IN ('x' 'y')", "a IN 'x'", "a IN ('1','2','3','4','5','6')",
        "a CONTAINS 'x'", "a NOT CONTAINS 'x'", "NOT a CONTAINS 'x'", "NOT (a CONTAINS 'x')", "a CONTAINS ''", "a NOT CONTAINS ''", "a CONTAINS b", "a CONTAINS 5",
        "a STARTSWITH 'x'", "a NOT STARTSWITH 'x'", "a ENDSWITH 'x'", "a NOT ENDSWITH 'x'", "5 CONTAINS 'x'", "TRUE CONTAINS 'x'", "'xy' CONTAINS 'x'", "'xy' NOT ENDSWITH 'y'",
        "a > 5 AND b = 'x'", "a > 5 OR b = 'x'", "NOT a > 5 AND b = 'x'", "(a > 5)", "((a > 5) AND (b = 'x' OR c IS NULL))", "a > 5 = TRUE", "(a > 5) = (b > 5)", "(a > 5) > 5",
        "a > 5 > 5", "1 < a < 5", "a = 5 = TRUE", "a + 5 > 3", "a LIKE 'x'", "a != 5", "a == 5", "a => 5", "", " ", "(", ")", "()", "a >", "> 5", "a > 5 b", "a > 5 )", "a > 5 'x'",
        "a > 5 # b", "a > 5 NOT", "a > 5 NOT b", "a IS", "a IS NOT", "a NOT", "AND", "a AND", "a > 5 AND", "OR a", "5", "'x'", "-5", "- a", "-a = 5", "+a = 5", "+5 = a", "--5 = a", "- -5 = a",
        "-TRUE", "-'x' = a", "a > -'x'", "a > -TRUE", "a = 05", "a = 0L", "a = 5l", "a = 9223372036854775807", "a = 9223372036854775808", "a = -9223372036854775808", "a = 2147483648", "-2147483648 = a",
        "A > 5", "a_b$1 = 'x'", "$x = '1'", "1a = 5", "and = 5", "Not a > 5", "a bEtWeEn 1 aNd 5", "a\t>\n5", "a > 5 -- tail", "a -- x\n> 5", "a /* x */ > 5", "a /* x > 5", "a > 5 /* **/", "a > /***/ 5",
        "a = 'x", "a = 'x''", "a = ''''", "a = '''", "\u00e4 = 5", "a = '\u00e4'", "a CONTAINS '\u20ac'", "a > 5;", "a.b = 5", "a-b = 5", "TAGS = 'x'", "KEYS IS NOT NULL", "a IS NULL OR a > 5",
        "a > 5 AND a < 10", "NOT (a = 5)", "NOT NOT a = 5", "(a)", "(5) = a", "(TRUE)", "(a = 5) IS NULL", "(a > 5) IS NOT NULL", "a = (b = 5)", "(b = 5) = a", "(a = 5) <> (b = 5)", "a > (5)", "a > (b)", "a IN ('x') = TRUE",
        "NaN = a", "a > 1.7976931348623157e308", "a = 4.9e-324", "a=5", "a>5AND b=5", "a>5and(b=5)", "a<>5or b<5", "1e3 < a", "1.5.5 < a", "1..5 < a", "5a > a", "a IN('x')and b IN('y')", "a BETWEEN 1 AND 5 AND b = 5",
        "a BETWEEN 1 AND 5 = TRUE", "NOT a BETWEEN 1 AND 5", "a NOT IN ('x') OR b", "a CONTAINS 'x' CONTAINS 'y'",
    };

    private static final String[][] VALUES = {
        null, {"5"}, {"6"}, {"-5"}, {"x"}, {"5.5"}, {"TRUE"}, {"true"}, {" 5"}, {"+5"}, {"3000000000"}, {"99999999999999999999"}, {"NaN"}, {"1e3"}, {"0x1p3"}, {"5d"}, {"xyx"}, {"it's"}, {"-0.0"}, {"0"},
        {"Infinity"}, {"5L"}, {"\u00e4"}, {"5."}, {".5"}, {"-"}, {"e5"}, {"1e"}, {"1 0"}, {"\t7\n"}, {"-2147483649"}, {"9223372036854775808"}, {"false"}, {"0x"}, {"0x10"}, {"1f"}, {"+-5"}, {"Nan"}, {"2147483648"},
    };

    private static final Random RANDOM = new Random(92);

    private static String pick(String... options) {
        return options[RANDOM.nextInt(options.length)];
    }

    private static String operand() {
        return pick("a", "b", "c", "a", "b", "5", "6", "-5", "5.5", "3000000000", "'x'", "'5'", "TRUE", "FALSE", "NULL", "0", "1e3", "''", "(a)", "-a", "-b", "+c");
    }

    private static String condition(int depth) {
        if (depth > 0 && RANDOM.nextInt(3) > 0) {
            switch (RANDOM.nextInt(5)) {
                case 0: return "NOT " + condition(depth - 1);
                case 1: return "(" + condition(depth - 1) + ")";
                case 2: return "(" + condition(depth - 1) + ") " + pick("=", "<>", "<", "IS NULL OR a =") + " " + operand();
                default: return condition(depth - 1) + pick(" AND ", " OR ") + condition(depth - 1);
            }
        }
        switch (RANDOM.nextInt(9)) {
            case 0: return operand() + pick(" IS NULL", " IS NOT NULL");
            case 1: return operand() + pick(" BETWEEN ", " NOT BETWEEN ") + operand() + " AND " + operand();
            case 2: return operand() + pick(" IN (", " NOT IN (") + pick("'x'", "'5', 'x'", "'xyx','6','5.5'") + ")";
            case 3: return operand() + pick(" CONTAINS ", " NOT CONTAINS ", " STARTSWITH ", " NOT ENDSWITH ", " ENDSWITH ", " NOT STARTSWITH ") + pick("'x'", "'5'", "''", "'y'");
            case 4: return operand();
            default: return operand() + pick(" = ", " <> ", " < ", " > ", " <= ", " >= ") + operand();
        }
    }

    private static String escape(String text) {
        return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n");
    }

    private static String ask(String sql, final Map<String, String> properties) {
        Expression expression;
        try {
            expression = SelectorParser.parse(sql);
        } catch (Throwable e) {
            return "INVALID";
        }
        try {
            Object result = expression.evaluate(new EvaluationContext() {
                public Object get(String name) {
                    return properties.get(name);
                }

                public Map<String, Object> keyValues() {
                    return new HashMap<String, Object>(properties);
                }
            });
            return result == null ? "NULL" : result instanceof Boolean ? result.toString().toUpperCase() : "OTHER";
        } catch (Throwable e) {
            return "THROWS";
        }
    }

    private static void put(Map<String, String> properties, String name) {
        String[] value = VALUES[RANDOM.nextInt(VALUES.length)];
        if (value != null) {
            properties.put(name, value[0]);
        }
    }

    public static void main(String[] args) {
        List<String> expressions = new ArrayList<String>();
        Collections.addAll(expressions, WRITTEN);
        for (int i = 0; i < 700; i++) {
            expressions.add(condition(3));
        }
        for (String sql : expressions) {
            for (int i = 0; i < 6; i++) {
                Map<String, String> properties = new java.util.TreeMap<String, String>();
                for (String name : new String[] {"a", "b", "c"}) {
                    put(properties, name);
                }
                StringBuilder line = new StringBuilder(ask(sql, properties)).append('\t').append(escape(sql)).append('\t');
                for (Map.Entry<String, String> e : properties.entrySet()) {
                    line.append(e.getKey()).append('=').append(escape(e.getValue())).append(';');
                }
                System.out.println(line);
            }
        }
    }
}
