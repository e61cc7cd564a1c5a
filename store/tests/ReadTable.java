import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * Reads the table with Apache Spark and Delta Lake.
 *
 * <pre>java -cp "$spark/libs/*" ReadTable.java [table folder] [events] [findings]</pre>
 *
 * Events are in partition 0, with the offsets from 0 on; findings in partition 2. Prints one line per check; exit status 0 when all hold, 1
 * when one does not.
 */
class ReadTable {
    private static boolean failed = false;

    private static void check(String name, Object found, Object expected) {
        boolean holds = Objects.equals(found, expected);
        failed |= !holds;
        System.out.println((holds ? "ok     " : "FAILED ") + name + (holds ? "" : " found " + found + ", expected " + expected));
    }

    private static String one(Dataset<Row> rows) {
        return rows.collectAsList().toString();
    }

    public static void main(String[] arguments) {
        String table = arguments[0];
        long events = Long.parseLong(arguments[1]);
        long findings = Long.parseLong(arguments[2]);
        SparkSession spark = SparkSession.builder()
            .master("local[2]")
            .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
            .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
            .config("spark.sql.session.timeZone", "UTC")
            // A few rows: fifty tasks for the table's state and compiled plans would cost more than the work.
            .config("spark.databricks.delta.snapshotPartitions", "1")
            .config("spark.sql.shuffle.partitions", "1")
            .config("spark.sql.codegen.wholeStage", "false")
            .config("spark.sql.warehouse.dir", System.getProperty("java.io.tmpdir"))
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.ui.enabled", "false")
            .getOrCreate();
        spark.read().format("delta").load(table).createOrReplaceTempView("records");
        check("rows", one(spark.sql("SELECT count(*), count(DISTINCT partition, offset) FROM records")),
            "[[" + (events + findings) + "," + (events + findings) + "]]");
        check("each offset once",
            one(spark.sql("SELECT partition, min(offset), max(offset), count(*) FROM records GROUP BY partition ORDER BY partition")),
            "[[0,0," + (events - 1) + "," + events + "], [2,0," + (findings - 1) + "," + findings + "]]");
        check("nested, list, bytes, day",
            one(spark.sql("SELECT process_started.actor.image, process_started.arguments[1], size(caused_by), length(prev_digest),"
                + " unix_micros(occurred_at), CAST(day AS STRING) FROM records WHERE kind = 'process_started'")),
            "[[/usr/bin/curl,https://example.org,2,32,1793000000007000,2026-10-26]]");
        check("a filter on a nested field",
            one(spark.sql("SELECT count(*) FROM records WHERE finding.title = 'SecretReadThenEgress'")), "[[" + (findings + 1) + "]]");
        List<Row> history = spark.sql("DESCRIBE HISTORY delta.`" + table + "`").select("version").collectAsList();
        List<Long> counts = new ArrayList<>();
        for (long version = 0; version < history.size(); version++) {
            counts.add(spark.read().format("delta").option("versionAsOf", version).load(table).count());
        }
        check("every earlier version", counts.equals(counts.stream().sorted().toList()) ? counts.get(counts.size() - 1) : counts, events + findings);
        try {
            spark.sql("DELETE FROM delta.`" + table + "` WHERE seq = 0");
            check("refuses to delete", "deleted", "refused");
        } catch (Exception refusal) {
            check("refuses to delete", refusal.getMessage().contains("DELTA_CANNOT_MODIFY_APPEND_ONLY"), true);
        }
        spark.stop();
        System.exit(failed ? 1 : 0);
    }
}
