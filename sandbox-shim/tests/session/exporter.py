"""An agent that is instrumented by OpenTelemetry's own SDK, after the GenAI conventions: it does what it says, and one thing more."""

import json
import subprocess
import time

from opentelemetry import _logs, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

# Where to send, and how, is in the environment.
resource = Resource.create({"service.name": "tester"})
traces = TracerProvider(resource=resource)
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
logs = LoggerProvider(resource=resource)
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
tracer, logger = traces.get_tracer("tester"), logs.get_logger("tester")


def event(name, body):
    record = LogRecord(
        timestamp=time.time_ns(),
        severity_number=SeverityNumber.INFO,
        event_name=name,
        body=body,
        attributes={"gen_ai.system": "openai"},
    )
    logger.emit(record)


def messages(role, text):
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "tester", "gen_ai.request.model": "m-1"}
with tracer.start_as_current_span("invoke_agent tester", attributes=agent):
    event("gen_ai.user.message", {"content": "count the words"})
    chat = {
        "gen_ai.operation.name": "chat",
        "gen_ai.response.model": "m-1-large",
        "gen_ai.output.messages": messages("assistant", "I count them."),
    }
    with tracer.start_as_current_span("chat m-1", attributes=chat):
        pass
    command = "wc -w README.md"
    tool = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "shell",
        "gen_ai.tool.call.id": "call_1",
        "gen_ai.tool.call.arguments": json.dumps({"command": command}),
    }
    with tracer.start_as_current_span("execute_tool shell", attributes=tool) as span:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        span.set_attribute("gen_ai.tool.call.result", done.stdout)
    failing = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup", "gen_ai.tool.call.id": "call_2"}
    with tracer.start_as_current_span("execute_tool lookup", attributes=failing) as span:
        span.set_status(Status(StatusCode.ERROR, "no such word"))
        span.set_attribute("error.type", "LookupError")
assert traces.force_flush() and logs.force_flush()
traces.shutdown()
logs.shutdown()
